"""The seam between devices and whoever holds what they do against what others hear of it.

A device must not know who that is, nor wait for it.
"""

from __future__ import annotations

from typing import Protocol

__all__ = ["Ear"]


class Ear(Protocol):
    """Is told at once of what concerns the cloud, so it must be quick. Times are monotonic nanoseconds."""

    def said(self, device: str, counter: int, qos: int, due: int, started: int) -> None:
        """Take that a device has published its counter-th message of telemetry."""

    def unanswered(self, device: str, started: int) -> None:
        """Take that what a device sent at that time will not be acknowledged any more."""

    def told(self, device: str, number: int, at: int, answered: int | None) -> None:
        """Take that a device got a command, and when it began to answer; None where it could not."""
