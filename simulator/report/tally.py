"""Adds up a run, snapshot by snapshot: the same while it runs and when it is read back from its folder.

What it keeps does not grow with the length of the run.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from simulator.clock import SECOND
from simulator.metrics.histogram import Histogram
from simulator.metrics.outcome import Outcome
from simulator.metrics.sample import Kind, Phase
from simulator.metrics.snapshot import ArrivalCounts, ArrivalOf, Totals

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from simulator.metrics.delivery import DeviceDelivery
    from simulator.metrics.sample import Failure
    from simulator.metrics.snapshot import SeriesKey, Snapshot
    from simulator.report.run import Loss, Run, Stage

__all__ = ["ShardTally", "StageTally", "Tally"]

LOST = "lost"
"""State of a device whose shard was lost: nobody knows what it does."""

SHORT = SECOND // 2
"""Intervals below this are too short for a share of the processor's time to mean anything."""


class StageTally:
    """What happened while one stage ran."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.end = stage.start
        """Nanoseconds since the start of the run up to which the stage was measured."""
        self.arrivals = {of: ArrivalCounts() for of in ArrivalOf}
        self.succeeded = dict.fromkeys(ArrivalOf, 0)
        self._devices: dict[int, Mapping[str, Mapping[str, int]]] = {}

    @property
    def reached_end(self) -> bool:
        """Whether the stage ran to its planned end: no shard ends one early."""
        return bool(self._devices) and self.end >= self.stage.end

    def devices(self, losses: Iterable[Loss]) -> dict[str, Counter[str]]:
        """Return devices by fleet and state at the end of what was measured, those of lost shards too."""
        shards = dict(self._devices)
        for loss in losses:
            if loss.at < self.stage.end:
                shards[loss.shard] = {fleet: {LOST: number} for fleet, number in loss.devices.items()}
        whole: dict[str, Counter[str]] = {}
        for fleets in shards.values():
            for fleet, states in fleets.items():
                whole.setdefault(fleet, Counter()).update(states)
        return whole

    def add(self, snapshot: Snapshot) -> None:
        """Add an interval that lies in this stage."""
        self.end = max(self.end, snapshot.end)
        self._devices[snapshot.shard] = snapshot.devices
        for key, counts in snapshot.arrivals.items():
            self.arrivals[key.of].add(counts)
        for series, interval in snapshot.series.items():
            if series.phase is Phase.CONNECT:
                self.succeeded[ArrivalOf.CONNECT] += interval.outcomes[Outcome.OK]
            elif series.phase is Phase.PUBLISH:
                self.succeeded[ArrivalOf.MESSAGE] += interval.outcomes[Outcome.OK]


class ShardTally:
    """What one shard's process used of the machine."""

    def __init__(self) -> None:
        self.cpu = 0
        self.elapsed = 0
        self.busiest = 0.0
        """Greatest share of one core in an interval."""
        self.rss = 0
        """Greatest resident memory, bytes."""
        self.devices = 0
        self.lag = Histogram()

    def add(self, snapshot: Snapshot) -> None:
        """Add one interval of this shard."""
        length = snapshot.end - snapshot.start
        self.cpu += snapshot.cpu
        self.elapsed += length
        self.rss = max(self.rss, snapshot.rss)
        self.devices = sum(sum(states.values()) for states in snapshot.devices.values())
        for interval in snapshot.series.values():
            self.lag.add(interval.lag)
        if length >= SHORT:
            self.busiest = max(self.busiest, snapshot.cpu / length)


class Tally:
    """A run and all that was measured of it, ready to be summed up."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.totals = Totals()
        self.stages = [StageTally(stage) for stage in run.stages]
        self._by_name = {tally.stage.name: tally for tally in self.stages}
        self.shards: dict[int, ShardTally] = {}
        self.examples: dict[tuple[str, Phase, str], Failure] = {}
        """The first failure of each fleet, phase and outcome."""
        self.flawed: list[DeviceDelivery] = []
        """Devices of whose messages, or commands, some were not delivered once and in order."""
        self.end = 0
        """Nanoseconds since the start of the run up to which it was measured."""

    def add(self, snapshot: Snapshot) -> None:
        """Add one interval of one shard."""
        self.totals.add(snapshot)
        self.end = max(self.end, snapshot.end)
        self.shards.setdefault(snapshot.shard, ShardTally()).add(snapshot)
        if snapshot.stage in self._by_name:
            self._by_name[snapshot.stage].add(snapshot)

    def add_histogram(self, shard: int, key: SeriesKey, kind: Kind, histogram: Histogram) -> None:
        """Add a histogram of an interval that was read back without its histograms."""
        self.totals.series(key).histogram(kind).add(histogram)
        if kind is Kind.LAG and key.phase is not Phase.COMMAND:  # commands are the cloud's, which is no shard
            self.shards.setdefault(shard, ShardTally()).lag.add(histogram)

    def add_device(self, delivery: DeviceDelivery) -> None:
        """Keep what became of a device's messages where that is worth a word."""
        if not delivery.counts.flawless:
            self.flawed.append(delivery)

    def add_failure(self, failure: Failure) -> bool:
        """Keep ``failure`` as an example if it is the first of its sort, and tell whether it is."""
        sort = (failure.fleet, failure.phase, failure.outcome)
        return self.examples.setdefault(sort, failure) is failure
