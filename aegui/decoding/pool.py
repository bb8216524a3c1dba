"""The parent's side of the workers: at most two, started when needed, ended with the program."""

from __future__ import annotations

import atexit
import math
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil

from aegui.decoding import worker

_MOST = min(2, os.cpu_count() or 1)
_START = 60.0  # seconds that a worker, and a codec's first import, may take on a slow or busy machine
_SECONDS = 4.0  # per frame of up to _NORMAL samples; more for larger ones
_PATIENCE = 4  # times as long, where others keep the processors busy and the codec hardly had its turn
_NORMAL = 4_000_000
_MEMORY = 512 << 20  # bytes a codec may need besides what grows with the frame
_PER_SAMPLE = 32  # bytes


class DecodingError(Exception):
    """A frame could not be decoded, and why."""


class _Gone(Exception):  # noqa: N818 - not shown
    """The worker ended in the midst of its work."""


class _Worker:
    """One child process. Used by one thread at a time."""

    def __init__(self) -> None:
        program = [sys.executable, worker.FLAG] if getattr(sys, "frozen", False) else [sys.executable, worker.__file__]
        # A thread per codec is enough: several workers run beside training.
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        self.process = subprocess.Popen(
            program,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **threads, "PYTHONSAFEPATH": "1"},
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        self._loaded: set[str] = set()
        self._folder = tempfile.mkdtemp(prefix="aegui-decoding-")

    def ask(self, words: dict[str, Any], data: bytes, seconds: float) -> npt.NDArray[Any]:
        """Decode one frame. DecodingError with the codec's reason; _Gone if the worker crashed; TimeoutError."""
        decoder = words["decoder"]
        if decoder not in self._loaded:
            self._exchange({"task": "load", "decoder": decoder}, b"", _START)
            self._loaded.add(decoder)
        answer, pixels = self._exchange({"task": "decode", "folder": self._folder, **words}, data, seconds)
        return np.frombuffer(pixels, answer["dtype"]).reshape(answer["shape"])

    def _exchange(self, words: dict[str, Any], data: bytes, seconds: float) -> tuple[dict[str, Any], bytearray]:
        late, answered = threading.Event(), threading.Event()
        spent = self._spent()

        def watch() -> None:
            for _ in range(_PATIENCE):
                if answered.wait(seconds):
                    return
                if self._spent() - spent > seconds / 2:
                    break
            late.set()
            self.process.kill()

        # Pipes cannot be waited for with a limit on every system; killing the child ends the wait everywhere.
        alarm = threading.Thread(target=watch, name="decoding limit", daemon=True)
        alarm.start()
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            # Popen's pipes are IO[bytes]; opened without text they are BinaryIO.
            worker.send(self.process.stdin, words, data)  # type: ignore[arg-type]
            answer, pixels = worker.receive(self.process.stdout)  # type: ignore[arg-type]
        except (OSError, EOFError, ValueError) as error:
            self.end()
            raise (TimeoutError() if late.is_set() else _Gone()) from error
        except BaseException:  # Ctrl+C: an answer is still under way, which nobody must take for his own
            self.end()
            raise
        finally:
            answered.set()
            alarm.join()
        if "error" in answer:
            raise DecodingError(answer["error"])
        return answer, pixels

    def _spent(self) -> float:
        """Seconds of processor time it has used; without end where it is gone."""
        try:
            used = psutil.Process(self.process.pid).cpu_times()
        except psutil.Error:
            return math.inf
        return float(used.user + used.system)

    def end(self) -> None:
        """Kill it and see it gone."""
        self.process.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with suppress(OSError):  # what was not yet sent
                    pipe.close()
        self.process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


class _Pool:
    def __init__(self) -> None:
        self._free = threading.Semaphore(_MOST)
        self._lock = threading.Lock()
        self._idle: list[_Worker] = []

    @contextmanager
    def worker(self) -> Iterator[_Worker]:
        """A worker for this thread alone; waits while all are at work."""
        with self._free:
            with self._lock:
                one = self._idle.pop() if self._idle else None
            if one is not None and one.process.poll() is not None:  # ended by the system in the meantime
                one.end()
                one = None
            one = one or _Worker()
            try:
                yield one
            finally:
                if one.process.returncode is None:
                    with self._lock:
                        self._idle.append(one)

    def end(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for one in idle:
            one.end()


_pool = _Pool()


def decode(decoders: tuple[str, ...], header: dict[str, Any], data: bytes) -> npt.NDArray[Any]:
    """The samples of one compressed frame by the first decoder that can: (rows, columns[, samples]).

    header: syntax (UID), rows, columns, samples, allocated, stored, signed, and the stream's own precision (or 0).
    DecodingError, with the reason of the first decoder, if none can.
    """
    samples = header["rows"] * header["columns"] * header["samples"]
    seconds = _SECONDS * max(1.0, samples / _NORMAL)
    words = {**header, "memory": _MEMORY + _PER_SAMPLE * samples}
    reason = ""
    for decoder in decoders:
        try:
            with _pool.worker() as one:
                begun = time.monotonic()
                try:
                    return one.ask({**words, "decoder": decoder}, data, seconds)
                finally:
                    seconds = max(0.5, seconds - (time.monotonic() - begun))
        except DecodingError as error:
            why = str(error)
        except TimeoutError:
            raise DecodingError("decoding it takes too long") from None
        except _Gone:
            why = "the decoder crashed"
        except OSError as error:
            raise DecodingError(f"the decoder cannot be started ({error.strerror})") from error
        reason = reason or why
    raise DecodingError(reason or "there is no decoder for it")


def shut_down() -> None:
    """End the workers; the next frame starts new ones."""
    _pool.end()


def _forget() -> None:
    # A forked child must not talk to its parent's workers.
    global _pool
    _pool = _Pool()


atexit.register(shut_down)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
