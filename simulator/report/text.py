"""A report for people: on a terminal of 80 columns, in colour or not. Only lays out ``figures``."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from simulator.metrics.histogram import LIMIT
from simulator.metrics.outcome import Outcome
from simulator.metrics.sample import Kind, Phase
from simulator.metrics.threshold import Status, Unit
from simulator.report.conclusion import Conclusion

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from simulator.report.figures import (
        ArrivalFigures,
        DeliveryFigures,
        DeviceFigures,
        FailureFigures,
        FleetFigures,
        Generator,
        Observer,
        PhaseFigures,
        Rate,
        Report,
        ResumptionFigures,
        ShardFigures,
        StageFigures,
        ThresholdFigures,
        Times,
    )

__all__ = ["render"]

FAILURES_SHOWN = 10
"""Sorts of failure that a terminal shows; ``report.json`` has all."""

_CONCLUSIONS = {
    Conclusion.MET: ("Met.", "bold green"),
    Conclusion.BROKEN: ("Broken.", "bold red"),
    Conclusion.NOT_COUNTED: ("This run does not count.", "bold yellow"),
    Conclusion.UNREACHABLE: ("Broker unreachable.", "bold red"),
    Conclusion.INTERRUPTED: ("Interrupted.", "bold yellow"),
    Conclusion.INCOMPLETE: ("Incomplete.", "bold yellow"),
}
_STATUSES = {
    Status.MET: ("met", "green"),
    Status.BROKEN: ("broken", "bold red"),
    Status.NO_DATA: ("no data", "yellow"),
}
_LONGEST = f"{LIMIT // 60_000_000} minutes or longer"
_NOTHING = "-"
_QUIET = "dim"


def render(report: Report) -> RenderableType:
    """Return the report as something that a rich console prints."""
    return Group(*chain.from_iterable((Text(), part) for part in _parts(report)))


def _parts(report: Report) -> Iterator[RenderableType]:
    yield _title(report)
    yield _conclusion(report)
    if report.thresholds:
        yield _thresholds(report.thresholds)
    for fleet in report.fleets:
        yield from _fleet(fleet)
    if report.stages:
        yield _stages(report.stages)
    if report.failures:
        yield _failures(report.failures, several_fleets=len(report.fleets) > 1)
    if report.flawed:
        yield _flawed(report.flawed)
    yield _generator(report.generator)
    if len(report.generator.shards) > 1:
        yield _shards(report.generator)
    if report.observer:
        yield _observer(report.observer, report.generator.lag_limit)


def _title(report: Report) -> Text:
    devices = ", ".join(f"{fleet.devices:,} {fleet.fleet}" for fleet in report.fleets)
    when = f"{report.started:%Y-%m-%d %H:%M:%S} UTC"
    about = (
        f"{report.scenario}, seed {report.seed}, {when}, {report.seconds:.1f} s",
        f"{devices or 'no devices'}, against {report.broker}",
    )
    changed = f"\nchanged: {plain(' '.join(report.changes))}" if report.changes else ""
    return Text.assemble((plain(report.title), "bold"), changed, *((f"\n{line}", _QUIET) for line in about))


def _conclusion(report: Report) -> Text:
    reason = report.reason  # that of a failed run is an error's message, which begins in lower case
    return Text.assemble(_CONCLUSIONS[report.conclusion], " ", reason[:1].upper() + reason[1:])


def _thresholds(thresholds: tuple[ThresholdFigures, ...]) -> RenderableType:
    table = _table("Thresholds", "limit", ("measured", "right"), "")
    for each in thresholds:
        table.add_row(Text(each.measure), Text(each.limit), _measured(each), Text(*_STATUSES[each.status]))
    return table


def _measured(threshold: ThresholdFigures) -> str:
    if threshold.measured is None:
        return _NOTHING
    match threshold.unit:
        case Unit.MICROSECONDS:
            return f"{_ms(threshold.measured)} ms"
        case Unit.PERCENT:
            return f"{threshold.measured:.4g} %"
        case Unit.COUNT:
            return f"{threshold.measured:,.0f}"


def _fleet(fleet: FleetFigures) -> Iterator[RenderableType]:
    """Yield the latencies of a fleet, what it saved by resuming TLS sessions, its arrivals and deliveries."""
    if any(phase.response for phase in fleet.phases):
        numbers = [(heading, "right") for heading in ("count", "p50", "p90", "p99", "p99.9", "max")]
        table = _table(f"{fleet.fleet}, ms", "", *numbers)
        for phase in fleet.phases:
            _add_phase(table, phase)
        yield table
        yield from _overflows(fleet.phases)
    if fleet.resumption is not None:
        yield _resumption(fleet.resumption, {phase.phase: phase.service for phase in fleet.phases})
    if fleet.arrivals:
        yield _arrivals(fleet.fleet, fleet.arrivals)
    cut_off = sum(phase.outcomes.get(Outcome.CUT_OFF, 0) for phase in fleet.phases)
    if cut_off:
        yield Text(f"{fleet.fleet}, cut off by abrupt reconnects, as asked: {cut_off:,}, no failures", _QUIET)
    if fleet.deliveries:
        yield _deliveries(fleet.fleet, fleet.deliveries)


def _add_phase(table: Table, phase: PhaseFigures) -> None:
    if phase.response is None or phase.service is None:
        return
    count = f"{phase.response.count:,}"
    table.add_row(str(phase.phase), str(Kind.RESPONSE), count, *_durations(phase.response))
    table.add_row("", str(Kind.SERVICE), "", *_durations(phase.service), style=_QUIET)


def _overflows(phases: tuple[PhaseFigures, ...]) -> Iterator[RenderableType]:
    """Yield a line for each phase with times that its figures cannot tell."""
    for phase in phases:
        overflow = max((times.overflow for times in (phase.response, phase.service) if times), default=0)
        if overflow:
            yield Text(f"{phase.phase}: {overflow:,} took {_LONGEST}, and count as that", "bold yellow")


def _durations(times: Times) -> Iterator[str]:
    return map(_ms, (times.p50, times.p90, times.p99, times.p99_9, times.max))


def _resumption(figures: ResumptionFigures, service: dict[Phase, Times | None]) -> Text:
    """Say how many TLS sessions were resumed, what that saved, and why the others were not."""
    if not figures.reconnects:
        return Text("No device reconnected, so none resumed a TLS session.")
    text = Text(f"{figures.resumed:,} of {figures.reconnects:,} reconnects resumed their TLS session")
    full, resumed = service.get(Phase.TLS_HANDSHAKE), service.get(Phase.TLS_RESUMPTION)
    if resumed and full and figures.resumed_cpu is not None and figures.full_cpu is not None:
        text.append(f": {_ms(figures.resumed_cpu)} ms of CPU instead of {_ms(figures.full_cpu)} ms")
        text.append(f", p50 {_ms(resumed.p50)} ms instead of {_ms(full.p50)} ms")
    without = figures.reconnects - figures.resumed - figures.refused
    if figures.refused:
        text.append(f"; {figures.refused:,} offered one that the broker refused")
    if without:
        text.append(f"; {without:,} had none to offer")
    return text.append(".")


def _arrivals(fleet: str, arrivals: tuple[ArrivalFigures, ...]) -> RenderableType:
    numbers = [(heading, "right") for heading in ("due", "started", "dropped", "offline", "retries")]
    table = _table(f"{fleet}, arrivals", *numbers)
    for each in arrivals:
        lost = (Text(f"{count:,}", "yellow" if count else "") for count in (each.dropped, each.offline))
        table.add_row(f"{each.of}s", f"{each.due:,}", f"{each.started:,}", *lost, f"{each.retries:,}")
    return table


def _deliveries(fleet: str, deliveries: tuple[DeliveryFigures, ...]) -> RenderableType:
    headings = ("qos", "sent", "heard", "lost", "unsure", "unseen", "doubled", "reordered")
    table = _table(f"{fleet}, through", *((heading, "right") for heading in headings))
    for each in deliveries:
        unknown = (Text(f"{count:,}") for count in (each.unconfirmed, each.unobserved))
        lost = Text(f"{each.lost:,}", _promised(each.lost, broken=each.qos > 0))
        doubled = Text(f"{each.duplicated:,}", _promised(each.duplicated, broken=each.qos != 1))
        reordered = Text(f"{each.reordered:,}", _promised(each.reordered, broken=each.qos != 1))
        known = (Text(f"{count:,}") for count in (each.qos, each.sent, each.delivered))
        table.add_row(Text(each.phase), *known, lost, *unknown, doubled, reordered)
    return table


def _promised(count: int, *, broken: bool) -> str:
    """Return how to show a flaw: as one that MQTT rules out (``broken``), or as one that it allows."""
    return "" if not count else "bold red" if broken else "yellow"


def _flawed(devices: tuple[DeviceFigures, ...]) -> RenderableType:
    parts: list[RenderableType] = [Text("Not delivered once and in order", "bold")]
    for each in devices[:FAILURES_SHOWN]:
        counts = each.deliveries
        flaws = {
            "lost": counts.lost,
            "unsure": counts.unconfirmed,
            "unseen": counts.unobserved,
            "doubled": counts.duplicated,
            "reordered": counts.reordered,
        }
        said = ", ".join(f"{count:,} {flaw}" for flaw, count in flaws.items() if count)
        parts.append(Text(f"{each.device}  {counts.phase} qos {counts.qos}: {said} of {counts.sent:,}"))
    hidden = len(devices) - FAILURES_SHOWN
    if hidden > 0:
        parts.append(Text(f"and {hidden:,} more, in report.json", _QUIET))
    return Group(*parts)


def _observer(observer: Observer, limit: int) -> Text:
    """Say what hearing cost, and whether the observer kept up."""
    text = Text.assemble(
        ("Observer", "bold"),
        f"   {observer.messages:,} messages heard, {observer.cost:,.0f} µs each\n",
        f"  lag p50 {_ms(observer.lag_p50)} ms, p99 ",
        (f"{_ms(observer.lag_p99)} ms", "bold yellow" if observer.lag_p99 > limit else ""),
        f" (limit {_ms(limit)} ms), max {_ms(observer.lag_max)} ms",
    )
    if observer.breaks:
        times = "once" if observer.breaks == 1 else f"{observer.breaks} times"
        text.append(f"\n  its connection broke {times}; it was away {observer.away:.1f} s", "yellow")
    if observer.strangers:
        text.append(f"\n  {observer.strangers:,} messages are of no device of this run", "yellow")
    return text


def _stages(stages: tuple[StageFigures, ...]) -> RenderableType:
    numbers = [(heading, "right") for heading in ("from", "to", "connected", "connects/s", "messages/s")]
    table = _table("Stages", *numbers)
    for stage in stages:
        connected = sum(each.connected for each in stage.connected.values())
        devices = sum(each.devices for each in stage.connected.values())
        table.add_row(
            Text(plain(stage.name)),
            f"{stage.start:.1f} s",
            f"{stage.end:.1f} s" if stage.reached_end else "cut off",
            f"{connected:,} of {devices:,}" if devices else _NOTHING,
            _rate(stage.connects),
            _rate(stage.messages),
        )
    return table


def plain(text: str) -> str:
    """Return what came from elsewhere, a broker say, without what a terminal would obey."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def _rate(rate: Rate) -> str:
    return f"{_number(rate.achieved)} of {_number(rate.due)}" if rate.due or rate.achieved else _NOTHING


def _number(rate: float) -> str:
    return f"{rate:.1f}" if rate < 99.95 else f"{rate:,.0f}"


def _failures(failures: tuple[FailureFigures, ...], *, several_fleets: bool) -> RenderableType:
    parts: list[RenderableType] = [Text("Failures", "bold")]
    for each in failures[:FAILURES_SHOWN]:
        phase = f"{each.fleet}.{each.phase}" if several_fleets else str(each.phase)
        parts.append(Text.assemble(f"{each.count:,}  {phase}  ", (each.outcome, "red")))
        parts += [Padding(line, (0, 0, 0, 4)) for line in _explanations(each)]
    hidden = len(failures) - FAILURES_SHOWN
    if hidden > 0:
        parts.append(Text(f"and {hidden} more sorts, in report.json", _QUIET))
    return Group(*parts)


def _explanations(failure: FailureFigures) -> Iterator[Text]:
    if failure.meaning:
        yield Text(failure.meaning)
    if failure.example:
        first = failure.example
        yield Text(plain(f"first: {first.device} at {first.at:.3f} s: {first.detail}"), _QUIET)


def _generator(generator: Generator) -> Text:
    text = Text.assemble(
        ("Generator", "bold"),
        f"  CPU {generator.cpu_share:.0%} of one core, {generator.cpu_share_peak:.0%} at its busiest; ",
        f"memory {generator.memory_peak / (1 << 20):,.0f} MiB",
    )
    if len(generator.shards) > 1:
        text.append(f"; {len(generator.shards)} shards, the busiest one's CPU")
    lag = generator.lag
    if lag is not None:
        text.append(f"\n  lag p50 {_ms(lag.p50)} ms, p99 ")
        text.append(f"{_ms(lag.p99)} ms", "bold yellow" if lag.p99 > generator.lag_limit else "")
        text.append(f" (limit {_ms(generator.lag_limit)} ms), max {_ms(lag.max)} ms")
        if lag.overflow:
            text.append(f"\n  {lag.overflow:,} began {_LONGEST} late, and count as that", "bold yellow")
    return text


def _shards(generator: Generator) -> RenderableType:
    """Lay out what each shard used, how late it was, which was the slowest, and which were lost."""
    numbers = ("devices", "CPU", "peak", "MiB", "lag p50", "p99", "max")
    table = _table("Shards", *((heading, "right") for heading in numbers), "")
    for each in generator.shards:
        lag = (each.lag.p50, each.lag.p99, each.lag.max) if each.lag else ()
        table.add_row(
            Text(f"{each.shard}  {plain(each.host)}"),
            f"{each.devices:,}",
            f"{each.cpu_share:.0%}",
            f"{each.cpu_share_peak:.0%}",
            f"{each.memory_peak / (1 << 20):,.0f}",
            *(map(_ms, lag) if lag else (_NOTHING,) * 3),
            _remark(each, generator.slowest),
        )
    return table


def _remark(shard: ShardFigures, slowest: int | None) -> Text:
    if shard.lost is not None:
        return Text(f"lost at {shard.lost[0]:.1f} s", "bold red")
    return Text("slowest" if shard.shard == slowest else "", "yellow")


def _table(first: str, *others: str | tuple[str, str]) -> Table:
    """Return a table without lines; its first heading names it, columns of numbers are ranged right."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style=_QUIET)
    table.add_column(Text(first, "not dim bold"), overflow="fold")
    for each in others:
        if isinstance(each, str):
            table.add_column(each, overflow="fold")
        else:
            table.add_column(each[0], justify="right", no_wrap=True)
    return table


def _ms(microseconds: float) -> str:
    """Return milliseconds with three digits, or more where they stand before the point."""
    milliseconds = microseconds / 1000
    if milliseconds < 9.995:
        return f"{milliseconds:.2f}"
    return f"{milliseconds:.1f}" if milliseconds < 99.95 else f"{milliseconds:,.0f}"
