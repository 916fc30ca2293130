"""From what was measured to a report: a pure function, so the same run gives the same report at any time."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from simulator.clock import MICROSECOND, SECOND
from simulator.metrics import threshold
from simulator.metrics.outcome import NO_FAILURES, Outcome, meaning
from simulator.metrics.sample import CONNECT_STEPS, Kind, Phase
from simulator.metrics.snapshot import ArrivalOf
from simulator.report.conclusion import conclude
from simulator.report.deliveries import deliveries, flawed, observer
from simulator.report.figures import (
    ArrivalFigures,
    Connected,
    Example,
    FailureFigures,
    FleetFigures,
    Generator,
    PhaseFigures,
    Rate,
    Report,
    ResumptionFigures,
    ShardFigures,
    StageFigures,
    ThresholdFigures,
    Times,
)
from simulator.report.tally import ShardTally

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulator.metrics.histogram import Histogram
    from simulator.metrics.snapshot import Totals
    from simulator.report.run import Loss
    from simulator.report.tally import StageTally, Tally

__all__ = ["summarize"]


def summarize(tally: Tally) -> Report:
    """Return the report of a run, complete or not."""
    run = tally.run
    thresholds = _thresholds(tally)
    generator = _generator(tally)
    conclusion, reason = conclude(run, tally.totals, thresholds, generator)
    return Report(
        title=run.title,
        changes=run.changes,
        scenario=run.scenario,
        seed=run.seed,
        started=run.started,
        seconds=tally.end / SECOND,
        broker=run.broker,
        endpoints=run.endpoints,
        conclusion=conclusion,
        reason=reason,
        exit_code=conclusion.exit_code,
        thresholds=thresholds,
        fleets=tuple(_fleet(tally, name) for name in sorted({*run.fleets, *tally.totals.fleets})),
        stages=tuple(_stage(stage, tally.run.losses) for stage in tally.stages),
        failures=tuple(_failures(tally)),
        flawed=tuple(flawed(tally)),
        generator=generator,
        observer=observer(run),
        versions=run.versions,
        machine=run.machine,
    )


def times(histogram: Histogram) -> Times | None:
    """Return the figures of a histogram, or None where it counted nothing."""
    if not histogram.count:
        return None
    return Times(
        count=histogram.count,
        p50=histogram.percentile(50),
        p90=histogram.percentile(90),
        p99=histogram.percentile(99),
        p99_9=histogram.percentile(99.9),
        max=histogram.max,
        mean=round(histogram.mean, 1),
        overflow=histogram.overflow,
    )


def _thresholds(tally: Tally) -> tuple[ThresholdFigures, ...]:
    last = tally.stages[-1] if tally.stages else None
    devices = last.devices(tally.run.losses) if last is not None and last.reached_end else {}
    figures = []
    for measure, limit in tally.run.thresholds.items():
        verdict = threshold.judge(threshold.parse(measure, limit, tally.run.fleets), tally.totals, devices)
        unit = verdict.threshold.unit
        figures.append(ThresholdFigures(measure, limit, verdict.status, verdict.measured, unit))
    return tuple(figures)


def _generator(tally: Tally) -> Generator:
    shards = tuple(_shards(tally))
    return Generator(
        shards=shards,
        slowest=_slowest(shards),
        cpu_seconds=sum(shard.cpu_seconds for shard in shards),
        cpu_share=max((shard.cpu_share for shard in shards), default=0.0),
        cpu_share_peak=max((shard.cpu_share_peak for shard in shards), default=0.0),
        memory_peak=sum(shard.memory_peak for shard in shards),
        lag=times(tally.totals.histogram(Kind.LAG)),
        lag_limit=tally.run.lag_limit // MICROSECOND,
    )


def _shards(tally: Tally) -> Iterator[ShardFigures]:
    losses = {loss.shard: (loss.at / SECOND, loss.reason) for loss in tally.run.losses}
    for number, host in enumerate(tally.run.hosts):
        shard = tally.shards.get(number, ShardTally())
        yield ShardFigures(
            shard=number,
            host=host,
            devices=shard.devices,
            cpu_seconds=shard.cpu / SECOND,
            cpu_share=shard.cpu / shard.elapsed if shard.elapsed else 0.0,
            cpu_share_peak=shard.busiest,
            memory_peak=shard.rss,
            lag=times(shard.lag),
            lost=losses.get(number),
        )


def _slowest(shards: tuple[ShardFigures, ...]) -> int | None:
    lags = {shard.shard: shard.lag.p99 for shard in shards if shard.lag is not None}
    return max(lags, key=lags.__getitem__) if len(lags) > 1 else None


def _fleet(tally: Tally, name: str) -> FleetFigures:
    totals = tally.totals
    return FleetFigures(
        fleet=name,
        devices=tally.run.fleets.get(name, 0),
        phases=tuple(_phase(totals, name, phase) for phase in totals.phases(name)),
        arrivals=tuple(_arrivals(totals, name)),
        resumption=_resumption(totals, name),
        deliveries=tuple(deliveries(totals, name)),
    )


def _phase(totals: Totals, fleet: str, phase: Phase) -> PhaseFigures:
    return PhaseFigures(
        phase=phase,
        outcomes=dict(sorted(totals.outcomes(fleet=fleet, phase=phase).items())),
        response=times(totals.histogram(Kind.RESPONSE, fleet=fleet, phase=phase)),
        service=times(totals.histogram(Kind.SERVICE, fleet=fleet, phase=phase)),
    )


def _resumption(totals: Totals, fleet: str) -> ResumptionFigures | None:
    counts = totals.resumptions(fleet)
    if counts is None:
        return None
    full, resumed = (
        totals.outcomes(fleet=fleet, phase=phase)[Outcome.OK]
        for phase in (Phase.TLS_HANDSHAKE, Phase.TLS_RESUMPTION)
    )
    return ResumptionFigures(
        reconnects=counts.reconnects,
        resumed=resumed,
        refused=counts.refused,
        full_cpu=round(counts.full_cpu / full / MICROSECOND, 1) if full else None,
        resumed_cpu=round(counts.resumed_cpu / resumed / MICROSECOND, 1) if resumed else None,
    )


def _arrivals(totals: Totals, fleet: str) -> Iterator[ArrivalFigures]:
    for of in ArrivalOf:
        counts = totals.arrivals(fleet=fleet, of=of)
        if counts:
            yield ArrivalFigures(
                of, counts.due, counts.started, counts.dropped, counts.offline, counts.retries
            )


def _stage(tally: StageTally, losses: tuple[Loss, ...]) -> StageFigures:
    stage = tally.stage
    seconds = ((stage.end if tally.reached_end else tally.end) - stage.start) / SECOND
    return StageFigures(
        name=stage.name,
        start=stage.start / SECOND,
        end=stage.end / SECOND,
        reached_end=tally.reached_end,
        connected={
            fleet: Connected(states["connected"], states.total())
            for fleet, states in tally.devices(losses).items()
        },
        connects=_rate(tally, ArrivalOf.CONNECT, seconds),
        messages=_rate(tally, ArrivalOf.MESSAGE, seconds),
    )


def _rate(tally: StageTally, of: ArrivalOf, seconds: float) -> Rate:
    if seconds <= 0:
        return Rate(0.0, 0.0)
    return Rate(round(tally.arrivals[of].due / seconds, 1), round(tally.succeeded[of] / seconds, 1))


def _failures(tally: Tally) -> Iterator[FailureFigures]:
    """Yield the failures by sort, the most frequent of a fleet first, each under the step that failed."""
    for fleet in tally.totals.fleets:
        sorts = _sorts(tally.totals, fleet)
        for (phase, outcome), count in sorts.most_common():
            first = tally.examples.get((fleet, phase, outcome))
            example = Example(first.device, first.at / SECOND, first.detail) if first else None
            yield FailureFigures(fleet, phase, outcome, count, meaning(outcome), example)


def _sorts(totals: Totals, fleet: str) -> Counter[tuple[Phase, str]]:
    """Count failures by phase and outcome; a connect that failed in one of its steps counts there only."""
    sorts: Counter[tuple[Phase, str]] = Counter()
    for phase in totals.phases(fleet):
        for outcome, count in totals.outcomes(fleet=fleet, phase=phase).items():
            if outcome not in NO_FAILURES:
                sorts[phase, outcome] += count
                if phase in CONNECT_STEPS:
                    sorts[Phase.CONNECT, outcome] -= count
    return +sorts
