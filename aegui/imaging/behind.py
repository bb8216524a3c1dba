"""Work done behind the one who hands it out, in order, a few pieces at most waiting."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Generic, ParamSpec, TypeVar

_WAITING = 2  # the one being worked on and the next: more would only fill the memory

Given = ParamSpec("Given")
Result = TypeVar("Result")


class Behind(Generic[Given, Result]):
    """Hands arguments to a function in another thread and gives its results back in the same order."""

    def __init__(self, pool: ThreadPoolExecutor, work: Callable[Given, Result]) -> None:
        self._pool = pool
        self._work = work
        self._queue: deque[Future[Result]] = deque()

    def put(self, *args: Given.args, **kwargs: Given.kwargs) -> list[Result]:
        """Hand over one piece; gives those that are done. Waits while too many are not, and raises what failed."""
        self._queue.append(self._pool.submit(self._work, *args, **kwargs))
        done: list[Result] = []
        while self._queue and (len(self._queue) > _WAITING or self._queue[0].done()):
            done.append(self._queue.popleft().result())
        return done

    def rest(self) -> Iterator[Result]:
        """Wait for what is left."""
        while self._queue:
            yield self._queue.popleft().result()


@contextmanager
def behind(work: Callable[Given, Result]) -> Iterator[Behind[Given, Result]]:
    """A thread that does `work`. Afterwards, come what may, it is gone, and what it had not begun is dropped."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="behind")
    try:
        yield Behind(pool, work)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
