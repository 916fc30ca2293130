"""Keeping the garbage collector's pauses out of the latencies."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["quiet_collector"]

YOUNG = 1_000
"""New objects after which the youngest are looked at."""
ROUNDS = 10
"""Of these after which their survivors are, once: later Pythons look at a share of the old ones instead."""
NEVER = 2**31 - 1
"""The greatest threshold that there is."""


@contextmanager
def quiet_collector() -> Iterator[None]:
    """Bound the collector's pauses, however large the fleet is.

    It never looks again at what exists now, and not more than twice at what comes: at some 11,000 objects in
    one go, which takes a millisecond. To look at everything would take a hundred with a large fleet. Garbage
    in cycles that has lived longer is kept until the block ends. Devices leave none at all, so that memory
    does not grow; the young collections are for the libraries that do.
    """
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, ROUNDS, NEVER)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
