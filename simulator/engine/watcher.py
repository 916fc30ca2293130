"""What a run tells whoever watches it: the seam between the coordinator and a view."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulator.metrics.snapshot import Snapshot, Totals
    from simulator.timetable import StageTimes

__all__ = ["Watcher"]


class Watcher(Protocol):
    """Is told of each step of a run; it must return quickly and cannot change anything."""

    def issuing(self, fleet: str, done: int, total: int) -> None:
        """Take that certificates are being issued for a fleet: so many of so many."""

    def warning(self, sentence: str) -> None:
        """Take what does not stop the run, and should be known."""

    def broker(self, description: str) -> None:
        """Take which broker accepts connections."""

    def started(self, stages: Sequence[StageTimes], shards: int) -> None:
        """Take the stages, the first of which begins now, and how many shards share the load."""

    def measured(self, snapshot: Snapshot, totals: Totals) -> None:
        """Take what the last second brought, and what the run has brought so far."""

    def lost(self, shard: int, shards: int, reason: str) -> None:
        """Take that a shard is lost, of so many, and why."""

    def stopping(self) -> None:
        """Take that the run ends early because the user asked for it."""

    def finished(self) -> None:
        """Take that all devices have left; the report comes next."""
