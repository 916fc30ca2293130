"""What a run shows while it goes on: a bar on a terminal, a line every few seconds in a pipe.

It reads snapshots and knows nothing of devices. Everything goes to stderr, so that stdout holds the report
alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from simulator.clock import SECOND
from simulator.metrics.sample import Phase

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from simulator.metrics.snapshot import Snapshot, Totals
    from simulator.timetable import StageTimes

__all__ = ["ProgressView"]

LINE_EVERY = 5 * SECOND
"""How often a line is written where there is no terminal to draw a bar on."""


class ProgressView:
    """Watches a run and says where it is."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._stages: Sequence[StageTimes] = ()
        self._next_line = 0
        self._issued: set[str] = set()
        self._latest: dict[int, Snapshot] = {}
        self._lost: set[int] = set()
        self._shards = 1

    def issuing(self, fleet: str, done: int, total: int) -> None:
        """Say that certificates are being issued, and how far it has come."""
        if self._console.is_interactive:
            self._draw(f"issuing certificates for {fleet}", done, total, f"{done:,} of {total:,}")
        elif fleet not in self._issued:
            self._issued.add(fleet)
            self._say(f"issuing {total:,} certificate{'' if total == 1 else 's'} for {fleet}")

    def warning(self, sentence: str) -> None:
        """Say what does not stop the run."""
        self._say(f"warning: {sentence}")

    def broker(self, description: str) -> None:
        """Say which broker accepts connections."""
        self.close()
        self._say(f"broker: {description}")

    def started(self, stages: Sequence[StageTimes], shards: int) -> None:
        """Keep the stages, to say how much of which is left, and how many shards there are to wait for."""
        self._stages = stages
        self._shards = shards

    def measured(self, snapshot: Snapshot, totals: Totals) -> None:
        """Show the second that has passed; the piece of one at a stage's end says nothing of rates.

        Nor does an observer's second, which has no devices.
        """
        if not snapshot.devices:
            return
        if snapshot.end - snapshot.start < SECOND // 2:
            return
        self._latest[snapshot.shard] = snapshot
        behind = [shard for shard, each in self._latest.items() if each.end < snapshot.end - SECOND // 2]
        if len(self._latest) < self._shards or not self._lost.issuperset(behind):
            return  # another shard's second is still on its way
        stage = self._stage_at(snapshot.end)
        figures = figures_of(self._latest.values(), totals)
        if self._console.is_interactive:
            self._draw(stage, snapshot.end, self._stages[-1].end, figures)
        elif snapshot.end >= self._next_line:
            self._next_line = snapshot.end - snapshot.end % LINE_EVERY + LINE_EVERY
            self._say(f"[{snapshot.end // SECOND:>4} s] {stage}: {figures}")

    def lost(self, shard: int, shards: int, reason: str) -> None:
        """Say that a shard is lost, and that the others go on."""
        self._lost.add(shard)
        self._say(f"shard {shard} of {shards} is lost, the others go on: {reason}")

    def stopping(self) -> None:
        """Say that the run ends early."""
        self._say("interrupted: the run ends in order; press Ctrl-C again to end it at once")

    def finished(self) -> None:
        """Take the bar away."""
        self.close()

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._bar is not None:
            self._bar.stop()
        self._bar = self._task = None

    def _stage_at(self, at: int) -> str:
        for number, stage in enumerate(self._stages, 1):
            if at <= stage.end:
                return f"{stage.name} ({number}/{len(self._stages)}), {-(-(stage.end - at) // SECOND)} s left"
        return "finishing"

    def _draw(self, what: str, done: int, total: int, figures: str) -> None:
        if self._bar is None:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=None),  # takes what the words leave of the line
                TextColumn("{task.fields[figures]}"),
                console=self._console,
                expand=True,
                auto_refresh=False,
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task("", figures="")
        if self._task is not None:
            self._bar.update(
                self._task,
                description=escape(what),
                completed=done,
                total=total,
                figures=figures,
                refresh=True,
            )

    def _say(self, sentence: str) -> None:
        self._console.print(sentence, markup=False, highlight=False, soft_wrap=True)


def figures_of(snapshots: Collection[Snapshot], totals: Totals) -> str:
    """Return the few figures that fit beside a bar: who is connected, what was published, what failed."""
    fleets = [states for snapshot in snapshots for states in snapshot.devices.values()]
    connected = sum(states.get("connected", 0) for states in fleets)
    devices = sum(sum(states.values()) for states in fleets)
    rate, failed = sum(map(published_rate, snapshots)), totals.failures()
    return f"{connected:,}/{devices:,} connected · {rate:,.0f} msg/s · {failed:,} failed"


def published_rate(snapshot: Snapshot) -> float:
    """Return the messages a second that one shard published in its interval."""
    published = (each.outcomes["ok"] for key, each in snapshot.series.items() if key.phase is Phase.PUBLISH)
    return sum(published) * SECOND / max(snapshot.end - snapshot.start, 1)
