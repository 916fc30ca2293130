"""Bounds on the load, and on its generator: the ``[limits]`` table. Values only."""

from pydantic import Field

from simulator.clock import MILLISECOND, SECOND
from simulator.scenario.fields import Count, Duration, Interval, Rate
from simulator.scenario.table import Table

__all__ = ["Limits"]


class Limits(Table):
    """How much the run may ask for and have under way, and when the generator's own slowness spoils it."""

    connects: Rate | None = Field(None, examples=["100/s"])
    """Most connects that a stage may ask for, all fleets together; a scenario that asks for more is refused.

    Without it, 100/s where the broker is external and at a public address, and no bound elsewhere.
    """

    messages: Rate | None = Field(None, examples=["1000/s"])
    """Most messages that telemetry and a stage may ask for, all fleets together; more is refused likewise.

    Commands count, and so does the answer to each.

    Without it, 1000/s where the broker is external and at a public address, and no bound elsewhere.
    """

    connecting: Count = 1_000
    """Most connection attempts under way at once; more that become due are dropped and counted."""

    lag: Interval = 100 * MILLISECOND
    """Lag whose 99th percentile, if larger, means that the generator was the limit and not the broker."""

    drain: Duration = 10 * SECOND
    """Longest wait after the last stage for what is still under way."""
