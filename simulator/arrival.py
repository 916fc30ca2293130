"""Arrival processes: when connects or messages are due, laid out before anything happens.

Each process yields absolute due times, as nanoseconds from the start of its stage, in order. It knows
nothing of clocks, devices or brokers: the load does not slow down because a broker does. All random ones
take a seeded source, so that a scenario has the same arrivals on every machine and over any number of
shards. A shard asks for the arrivals that are its own by their ``numbers``, which go upwards from 0; what
lies between costs it nothing, or next to nothing where a random process has to be walked through.
"""

from __future__ import annotations

from itertools import count
from math import sqrt
from typing import TYPE_CHECKING

from simulator.clock import SECOND
from simulator.scenario.kinds import ArrivalKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from random import Random

__all__ = ["arrivals", "burst", "constant", "poisson", "ramp"]


def constant(rate: float, numbers: Iterable[int] | None = None) -> Iterator[int]:
    """Yield one arrival every 1/rate seconds, the first at once."""
    for number in _each(numbers):
        yield round(number * SECOND / rate)


def ramp(start: float, end: float, over: int, numbers: Iterable[int] | None = None) -> Iterator[int]:
    """Yield arrivals whose rate grows, or falls, in a straight line from ``start`` to ``end`` in ``over`` ns.

    The k-th arrival is due where the integral of the rate reaches k: start·t + (end - start)·t²/2T = k,
    solved for t in the form that stays exact where the slope is small. After ``over`` the rate stays at
    ``end``.
    """
    seconds = over / SECOND
    slope = (end - start) / seconds
    within = (start + end) / 2 * seconds
    for number in _each(numbers):
        if number < within:
            root = sqrt(start * start + 2 * slope * number)
            yield round(2 * number / (start + root) * SECOND) if number else 0
        elif end > 0:
            yield round((seconds + (number - within) / end) * SECOND)
        else:
            return


def poisson(rate: float, source: Random, numbers: Iterable[int] | None = None) -> Iterator[int]:
    """Yield arrivals independent of each other, ``rate`` a second on average: the gaps are exponential."""
    due, following = 0.0, 0
    for number in _each(numbers):
        while following <= number:
            due += source.expovariate(rate)
            following += 1
        yield round(due * SECOND)


def burst(rate: float, size: int, numbers: Iterable[int] | None = None) -> Iterator[int]:
    """Yield ``size`` arrivals at the same instant, then pause so that ``rate`` a second come on average."""
    for number in _each(numbers):
        yield round(number // size * size * SECOND / rate)


def arrivals(
    kind: ArrivalKind,
    rate: float,
    source: Random,
    *,
    start: float = 0.0,
    over: int = 0,
    size: int = 1,
    numbers: Iterable[int] | None = None,
) -> Iterator[int]:
    """Return the process a scenario names; a ramp has ``start`` and ``over`` (ns), a burst has ``size``."""
    if kind is ArrivalKind.CONSTANT:
        return constant(rate, numbers)
    if kind is ArrivalKind.RAMP:
        return ramp(start, rate, over, numbers)
    if kind is ArrivalKind.POISSON:
        return poisson(rate, source, numbers)
    return burst(rate, size, numbers)


def _each(numbers: Iterable[int] | None) -> Iterable[int]:
    """Return the numbers of the arrivals that are wanted: all of them, unless some are named."""
    return count() if numbers is None else numbers
