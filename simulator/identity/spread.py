"""The same work on many items, over all cores, with the results in order.

For work of milliseconds that lets go of the interpreter lock, as making an RSA key does: two cores then do
nearly twice as much (measured: 24 keys a second alone, 41 with two threads). Knows nothing of keys.
"""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
    from concurrent.futures import Future

__all__ = ["spread"]

T = TypeVar("T")
R = TypeVar("R")

_AHEAD = 2  # items in hand for each core, so that none waits while the caller uses the results


def spread(work: Callable[[T], R], items: Iterable[T]) -> Generator[R, None, None]:
    """Yield ``work(item)`` for each item, in order.

    Runs only a few items ahead of the caller, so items may be endless. The first error that ``work`` raises
    is raised here, and closing the iterator (or an error in the caller's loop) drops what has not begun.
    """
    cores = os.cpu_count() or 1
    pool = ThreadPoolExecutor(cores, thread_name_prefix="spread")
    ahead: deque[Future[R]] = deque()
    try:
        for item in items:
            ahead.append(pool.submit(work, item))
            if len(ahead) > cores * _AHEAD:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
