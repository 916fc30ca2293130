"""The recorder of one shard: devices append tuples to plain lists, and batches of them become histograms.

A sample costs its device one ``list.append``; ``fold`` and ``snapshot`` do the rest, a batch at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.clock import MICROSECOND
from simulator.metrics.delivery import DeliveryCounts, DeliveryKey
from simulator.metrics.outcome import NO_FAILURES, Outcome
from simulator.metrics.sample import CONNECT_STEPS, LAG_PHASES, Failure, Phase, Sample
from simulator.metrics.snapshot import (
    ArrivalCounts,
    ArrivalKey,
    ArrivalOf,
    ResumptionCounts,
    SeriesInterval,
    SeriesKey,
    Snapshot,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Recorder", "Series"]


class Series:
    """The samples of one phase of one fleet. The list ``ok`` stays the same: bind ``ok.append`` once."""

    __slots__ = ("_interval", "_late", "_with_lag", "ok")

    def __init__(self, *, with_lag: bool) -> None:
        self.ok: list[Sample] = []
        self._late: list[int] = []
        self._with_lag = with_lag
        self._interval = SeriesInterval()

    def fail(self, outcome: str, due: int, started: int) -> None:
        """Count a step that did not end well; how late it was started counts as for any other."""
        self._interval.outcomes[outcome] += 1
        if self._with_lag:
            self._late.append((started - due) // MICROSECOND)

    def count(self, outcome: str) -> None:
        """Count an outcome that some other series measured in full."""
        self._interval.outcomes[outcome] += 1

    def fold(self) -> None:
        """Move what was appended since the last time into the histograms."""
        batch = self.ok[:]
        self.ok.clear()
        into = self._interval
        if self._with_lag:
            self._late += [(started - due) // MICROSECOND for due, started, _ in batch]
            into.lag.record_many(self._late)
            self._late.clear()
        if batch:
            into.outcomes[Outcome.OK] += len(batch)
            into.response.record_many([(finished - due) // MICROSECOND for due, _, finished in batch])
            into.service.record_many([(finished - started) // MICROSECOND for _, started, finished in batch])

    def drain(self) -> SeriesInterval:
        """Return all that was measured since the last time, and begin anew."""
        self.fold()
        interval, self._interval = self._interval, SeriesInterval()
        return interval


class Recorder:
    """Everything that one shard measures. It never waits and never fails a device.

    ``origin`` is the start of the run in nanoseconds of this process's monotonic clock. ``on_failure`` is
    called at once with each failure. ``stage`` is the name of the stage the shard is in; what
    is measured while it is ``draining``, after the last one, belongs to no stage, but failures still name it.
    """

    def __init__(self, *, shard: int, origin: int, on_failure: Callable[[Failure], None]) -> None:
        self.stage = ""
        self.draining = False
        self._shard = shard
        self.origin = origin
        self._on_failure = on_failure
        self._end = 0
        self._series: dict[SeriesKey, Series] = {}
        self._arrivals: dict[ArrivalKey, ArrivalCounts] = {}
        self._resumptions: dict[str, ResumptionCounts] = {}
        self._deliveries: dict[DeliveryKey, DeliveryCounts] = {}

    def series(self, fleet: str, phase: Phase) -> Series:
        """Return the series to which the devices of ``fleet`` append samples of ``phase``."""
        key = SeriesKey(fleet, phase)
        if key not in self._series:
            self._series[key] = Series(with_lag=phase in LAG_PHASES)
        return self._series[key]

    def arrivals(self, fleet: str, of: ArrivalOf) -> ArrivalCounts:
        """Return the counters that whoever makes arrivals due, starts or drops them increments."""
        return self._arrivals.setdefault(ArrivalKey(fleet, of), ArrivalCounts())

    def resumptions(self, fleet: str) -> ResumptionCounts:
        """Return the counters of TLS sessions that the devices of ``fleet`` resumed, or offered in vain."""
        return self._resumptions.setdefault(fleet, ResumptionCounts())

    def deliveries(self, fleet: str, phase: Phase, qos: int) -> DeliveryCounts:
        """Return the counters that whoever observes messages on their way through the broker increments."""
        return self._deliveries.setdefault(DeliveryKey(fleet, phase, qos), DeliveryCounts())

    def fail(
        self,
        fleet: str,
        device: str,
        phase: Phase,
        outcome: str,
        detail: str,
        *,
        due: int,
        started: int,
        finished: int,
    ) -> None:
        """Record one step that failed, once, under the phase that failed.

        The times are absolute, as in samples. The attempt that a step of a connect belongs to fails with it.
        An outcome that is no failure, though the step did not end well, is counted only.
        """
        self.series(fleet, phase).fail(outcome, due, started)
        if phase in CONNECT_STEPS:
            self.series(fleet, Phase.CONNECT).count(outcome)
        if outcome in NO_FAILURES:
            return
        times = (due - self.origin, started - self.origin, finished - self.origin)
        self._on_failure(Failure(times[2], fleet, device, self.stage, phase, outcome, detail, *times))

    def fold(self) -> None:
        """Move samples into histograms now, so that the next snapshot has less to do."""
        for series in self._series.values():
            series.fold()

    def snapshot(self, at: int, *, devices: Mapping[str, Mapping[str, int]], cpu: int, rss: int) -> Snapshot:
        """Return all that was measured since the last snapshot; ``at`` is now, on the monotonic clock."""
        start, self._end = self._end, max(at - self.origin, self._end)
        series = {key: series.drain() for key, series in self._series.items()}
        arrivals = {key: _drain(counts) for key, counts in self._arrivals.items()}
        deliveries = {key: counts.drain() for key, counts in self._deliveries.items()}
        return Snapshot(
            shard=self._shard,
            stage="" if self.draining else self.stage,
            start=start,
            end=self._end,
            series={key: interval for key, interval in series.items() if interval.outcomes},
            arrivals={key: counts for key, counts in arrivals.items() if counts},
            devices=devices,
            cpu=cpu,
            rss=rss,
            resumptions={fleet: _taken(counts) for fleet, counts in self._resumptions.items() if counts},
            deliveries={key: counts for key, counts in deliveries.items() if counts},
        )


def _taken(counts: ResumptionCounts) -> ResumptionCounts:
    taken = ResumptionCounts()
    taken.add(counts)
    counts.reconnects = counts.refused = counts.full_cpu = counts.resumed_cpu = 0
    return taken


def _drain(counts: ArrivalCounts) -> ArrivalCounts:
    taken = ArrivalCounts()
    taken.add(counts)
    counts.due = counts.started = counts.dropped = counts.offline = counts.retries = 0
    return taken
