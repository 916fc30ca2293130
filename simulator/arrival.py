"""Arrival processes: when connects or messages are due, laid out before anything happens.

Each process yields absolute due times, as nanoseconds from the start of its stage, in order. It knows
nothing of clocks, devices or brokers: the load does not slow down because a broker does. All random ones
take a seeded source, so that a scenario has the same arrivals on every machine and over any number of
shards.
"""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

from simulator.clock import SECOND
from simulator.scenario.kinds import ArrivalKind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

__all__ = ["arrivals", "burst", "constant", "poisson", "ramp"]


def constant(rate: float) -> Iterator[int]:
    """Yield one arrival every 1/rate seconds, the first at once."""
    number = 0
    while True:
        yield round(number * SECOND / rate)
        number += 1


def ramp(start: float, end: float, over: int) -> Iterator[int]:
    """Yield arrivals whose rate grows, or falls, in a straight line from ``start`` to ``end`` in ``over`` ns.

    The k-th arrival is due where the integral of the rate reaches k: start·t + (end - start)·t²/2T = k,
    solved for t in the form that stays exact where the slope is small. After ``over`` the rate stays at
    ``end``.
    """
    seconds = over / SECOND
    slope = (end - start) / seconds
    within = (start + end) / 2 * seconds
    number = 0
    while number < within:
        yield round(2 * number / (start + sqrt(start * start + 2 * slope * number)) * SECOND) if number else 0
        number += 1
    while end > 0:
        yield round((seconds + (number - within) / end) * SECOND)
        number += 1


def poisson(rate: float, source: Random) -> Iterator[int]:
    """Yield arrivals independent of each other, ``rate`` a second on average: the gaps are exponential."""
    due = 0.0
    while True:
        due += source.expovariate(rate)
        yield round(due * SECOND)


def burst(rate: float, size: int) -> Iterator[int]:
    """Yield ``size`` arrivals at the same instant, then pause so that ``rate`` a second come on average."""
    number = 0
    while True:
        yield round(number // size * size * SECOND / rate)
        number += 1


def arrivals(
    kind: ArrivalKind, rate: float, source: Random, *, start: float = 0.0, over: int = 0, size: int = 1
) -> Iterator[int]:
    """Return the process a scenario names; a ramp has ``start`` and ``over`` (ns), a burst has ``size``."""
    if kind is ArrivalKind.CONSTANT:
        return constant(rate)
    if kind is ArrivalKind.RAMP:
        return ramp(start, rate, over)
    if kind is ArrivalKind.POISSON:
        return poisson(rate, source)
    return burst(rate, size)
