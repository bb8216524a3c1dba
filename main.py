"""Start the program."""

import multiprocessing
import sys

if __name__ == "__main__":
    multiprocessing.freeze_support()
    if sys.argv[1:] == ["--decoding-worker"]:  # the frozen program started by itself, to decode pixels
        from aegui.decoding.worker import main as serve

        serve()
        sys.exit()
    from aegui.cli import main

    main()
