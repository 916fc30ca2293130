"""Bounds on the generator of the load itself: the ``[limits]`` table. Values only."""

from simulator.clock import MILLISECOND, SECOND
from simulator.scenario.fields import Count, Duration, Interval
from simulator.scenario.table import Table

__all__ = ["Limits"]


class Limits(Table):
    """How much the generator may have under way, and when its own slowness spoils a run."""

    connecting: Count = 1_000
    """Most connection attempts under way at once; more that become due are dropped and counted."""

    lag: Interval = 100 * MILLISECOND
    """Lag whose 99th percentile, if larger, means that the generator was the limit and not the broker."""

    drain: Duration = 10 * SECOND
    """Longest wait after the last stage for what is still under way."""
