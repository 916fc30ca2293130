"""What every device can do, be it virtual or a unit on a cable: the words that stages are made of.

A device owns its credential, its link and its session, and knows nothing of shards, stages or reports.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

__all__ = ["Device", "DeviceState"]


class DeviceState(StrEnum):
    """Where a device stands; every device of a fleet is in exactly one state."""

    IDLE = "idle"
    """Not connected, and not trying."""
    CONNECTING = "connecting"
    CONNECTED = "connected"
    LEAVING = "leaving"
    """Waits for its last acknowledgements before it sends DISCONNECT."""
    BACKING_OFF = "backing_off"
    """Lost, or was refused, its connection, and waits before it tries again."""


class Device(Protocol):
    """A device that a stage can drive. All due times are nanoseconds of this process's monotonic clock."""

    name: str
    state: DeviceState

    def connect(self, due: int) -> None:
        """Connect; a device that is on its way drops the arrival, one that is connected ignores it."""

    def reconnect(self, due: int, *, abrupt: bool) -> None:
        """End the session and connect again; abrupt means as if the power had failed."""

    def publish(self, due: int, qos: int | None = None) -> None:
        """Publish one telemetry message, at the telemetry's own QoS unless another is given."""

    def disconnect(self, due: int) -> None:
        """End the session in an orderly way and stay away."""

    def finish(self) -> None:
        """End for good: no more telemetry, no new attempt; then DISCONNECT."""

    def abandon(self) -> None:
        """End at once; what is still under way counts as unfinished."""
