"""Time as this package keeps it: monotonic nanoseconds to measure, the wall clock for people and files."""

from __future__ import annotations

from datetime import UTC, datetime
from time import monotonic_ns, time_ns

__all__ = ["MICROSECOND", "MILLISECOND", "SECOND", "now", "wall", "wall_offset"]

MICROSECOND = 1_000
MILLISECOND = 1_000_000
SECOND = 1_000_000_000

now = monotonic_ns
"""Nanoseconds of the monotonic clock: the same clock as ``asyncio``'s, never set back."""


def wall() -> datetime:
    """Return the time of day in UTC, for file names and reports."""
    return datetime.now(UTC)


def wall_offset() -> int:
    """Return what to add to ``now()`` to get nanoseconds since 1970 UTC; the wall clock may be set later."""
    return time_ns() - now()
