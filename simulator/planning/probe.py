"""The probe: runs the miniature of a scenario through the product itself, and keeps what each second took.

It watches a run as any view does. This module must not know what follows from its readings.
"""

from __future__ import annotations

import gc
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from simulator.clock import SECOND, now
from simulator.engine.coordinator import Coordinator
from simulator.errors import BrokerError, UsageError
from simulator.metrics.outcome import NO_FAILURES
from simulator.metrics.sample import Phase
from simulator.metrics.snapshot import ArrivalOf
from simulator.planning.miniature import warm_up
from simulator.planning.work import Kind, Work
from simulator.report.conclusion import Conclusion

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from simulator.engine.watcher import Watcher
    from simulator.metrics.snapshot import Snapshot, Totals
    from simulator.planning.miniature import Miniature
    from simulator.report.figures import Report
    from simulator.scenario.loader import LoadedScenario
    from simulator.timetable import StageTimes

__all__ = ["Measurement", "Reading", "probe"]


@dataclass(frozen=True, slots=True)
class Reading:
    """What an interval took, and what was done in it; processor time is in nanoseconds, memory in bytes."""

    stage: str
    seconds: float
    cpu: int
    broker_cpu: int
    memory: int
    broker_memory: int
    connected: Mapping[str, int]
    """By fleet, at the end."""
    done: Mapping[Work, int]
    """What was ended in the interval, whichever stage began it."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """All that a probe has read; ``memory`` is the process's own before there were any devices."""

    readings: tuple[Reading, ...]
    memory: int
    issuing: Mapping[str, float]
    """Seconds that issuing one certificate took, by fleet."""
    broker: str
    seconds: float


def probe(
    mini: Miniature, view: Watcher, unseen: Watcher, run: Callable[[Coordinator], Report | None]
) -> Measurement | None:
    """Run a miniature and return what was read; None where the user ended it early.

    ``view`` shows it, ``unseen`` shows nothing, and ``run`` lets a coordinator run. Raises UsageError where
    no device of a fleet can connect, BrokerError where the broker dies, and what a run raises.
    """
    begun = now()
    notes = _Notes(view)
    if _run(warm_up(mini), _Notes(unseen), run) is None:
        return None
    gc.collect()
    memory = psutil.Process().memory_info().rss
    report = _run(mini.loaded, notes, run)
    if report is None:
        return None
    return Measurement(
        tuple(notes.readings), memory, notes.issuing_took, report.broker, (now() - begun) / SECOND
    )


def _run(loaded: LoadedScenario, notes: _Notes, run: Callable[[Coordinator], Report | None]) -> Report | None:
    with (
        tempfile.TemporaryDirectory(prefix="simulator-plan-") as folder,
        Coordinator(loaded, Path(folder) / "run", notes) as coordinator,
    ):
        notes.coordinator = coordinator
        report = run(coordinator)
    if report is None or report.conclusion is Conclusion.INTERRUPTED:
        return None
    if report.conclusion is Conclusion.INCOMPLETE:
        raise BrokerError(f"the measurement ended early: {report.reason}")
    _check(report)
    return report


def _check(report: Report) -> None:
    """Raise UsageError where a fleet tried and did not get in, since nothing would be known of it."""
    for fleet in report.fleets:
        connects = [phase.outcomes for phase in fleet.phases if phase.phase is Phase.CONNECT]
        if not connects or any(each in NO_FAILURES for outcomes in connects for each in outcomes):
            continue
        failure = next((each for each in report.failures if each.fleet == fleet.fleet), None)
        example = f": {failure.outcome}, {failure.example.detail}" if failure and failure.example else ""
        raise UsageError(
            f"no device of fleet {fleet.fleet} could connect to {report.broker}{example}; change what the"
            " fleet offers, or plan for another broker with --broker"
        )


class _Notes:
    """Writes down readings, and passes on what a view shows of a run."""

    def __init__(self, view: Watcher) -> None:
        self._view = view
        self.coordinator: Coordinator | None = None
        self.readings: list[Reading] = []
        self.issuing_took: dict[str, float] = {}
        self._issuing_since = 0
        self._broker_cpu = 0
        self._own = 0
        """Processor time that reading has taken since the last reading: no run has that."""

    def issuing(self, fleet: str, done: int, total: int) -> None:
        if not done:
            self._issuing_since = now()
        self.issuing_took[fleet] = (now() - self._issuing_since) / SECOND / total
        self._view.issuing(fleet, done, total)

    def warning(self, sentence: str) -> None:
        self._view.warning(sentence)

    def broker(self, description: str) -> None:
        self._view.broker(description)

    def started(self, stages: Sequence[StageTimes], shards: int) -> None:
        usage = self.coordinator.broker_usage() if self.coordinator else None
        self._broker_cpu = round(usage.cpu_seconds * SECOND) if usage else 0
        self._view.started(stages, shards)

    def measured(self, snapshot: Snapshot, totals: Totals) -> None:
        self._view.measured(snapshot, totals)
        if not snapshot.devices:  # the observer's
            return
        before, own = time.thread_time_ns(), self._own
        self.readings.append(self._read(snapshot, own))
        self._own = time.thread_time_ns() - before

    def lost(self, shard: int, shards: int, reason: str) -> None:
        self._view.lost(shard, shards, reason)

    def stopping(self) -> None:
        self._view.stopping()

    def finished(self) -> None:
        self._view.finished()

    def _read(self, snapshot: Snapshot, own: int) -> Reading:
        usage = self.coordinator.broker_usage() if self.coordinator else None
        broker_cpu = round(usage.cpu_seconds * SECOND) if usage else self._broker_cpu
        took, self._broker_cpu = max(0, broker_cpu - self._broker_cpu), broker_cpu
        return Reading(
            stage=snapshot.stage,
            seconds=(snapshot.end - snapshot.start) / SECOND,
            cpu=max(0, snapshot.cpu - own),
            broker_cpu=took,
            memory=snapshot.rss,
            broker_memory=usage.rss_bytes if usage else 0,
            connected={name: states.get("connected", 0) for name, states in snapshot.devices.items()},
            done=done_in(snapshot),
        )


def done_in(snapshot: Snapshot) -> dict[Work, int]:
    """Return what was done in an interval; reconnects are connects, answers to commands are messages."""
    done: Counter[Work] = Counter()
    for key, counts in snapshot.arrivals.items():
        if key.of is ArrivalOf.MESSAGE:
            done[Work(Kind.MESSAGE, key.fleet)] += counts.started
    for series, interval in snapshot.series.items():
        ended, failed = (
            interval.outcomes.total(),
            sum(count for outcome, count in interval.outcomes.items() if outcome not in NO_FAILURES),
        )
        if series.phase in {Phase.TLS_HANDSHAKE, Phase.TLS_RESUMPTION}:
            done[Work(Kind.CONNECT, series.fleet)] += ended
        elif series.phase in {Phase.TCP_CONNECT, Phase.SESSION}:
            done[Work(Kind.FAILURE, series.fleet)] += failed
    return done
