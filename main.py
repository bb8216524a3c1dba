"""Start the program."""

import multiprocessing

if __name__ == "__main__":
    multiprocessing.freeze_support()
    from aegui.cli import main

    main()
