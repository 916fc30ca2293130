"""A watcher that keeps what it is told, and acts on the run at a moment that a test names."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from simulator.metrics.snapshot import Snapshot, Totals
    from simulator.timetable import StageTimes


class Witness:
    """Keeps the steps of a run in order; ``on[step]`` is called when it comes for the first time."""

    def __init__(self, **on: Callable[[], object]) -> None:
        self.steps: list[str] = []
        self.warnings: list[str] = []
        self.descriptions: list[str] = []
        self.losses: list[tuple[int, int, str]] = []
        self.connected = 0
        self._connected: dict[int, int] = {}
        self.on = on

    def issuing(self, fleet: str, done: int, total: int) -> None:
        self._step(f"issuing {fleet} {done}/{total}", "issuing")

    def warning(self, sentence: str) -> None:
        self.warnings.append(sentence)
        self._step("warning")

    def broker(self, description: str) -> None:
        self.descriptions.append(description)
        self._step("broker")

    def started(self, stages: Sequence[StageTimes], shards: int) -> None:
        self._step("started")

    def measured(self, snapshot: Snapshot, totals: Totals) -> None:
        self._connected[snapshot.shard] = sum(
            states.get("connected", 0) for states in snapshot.devices.values()
        )
        self.connected = sum(self._connected.values())
        if self.connected:
            self._step("connected")

    def lost(self, shard: int, shards: int, reason: str) -> None:
        self.losses.append((shard, shards, reason))
        self._step("lost")

    def stopping(self) -> None:
        self._step("stopping")

    def finished(self) -> None:
        self._step("finished")

    def _step(self, step: str, key: str = "") -> None:
        if not self.steps or self.steps[-1] != step:
            self.steps.append(step)
        act = self.on.pop(key or step, None)
        if act is not None:
            act()
