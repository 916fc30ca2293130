"""A forecast for people: on a terminal of 80 columns. Only lays out ``figures``."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from simulator.planning.figures import Resource
from simulator.planning.work import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import RenderableType

    from simulator.planning.figures import Forecast, Need, WorkerForecast

__all__ = ["render"]

_MIB = 1 << 20
_WHAT = {
    Resource.GENERATOR: "generator's CPU",
    Resource.BROKER: "broker's CPU",
    Resource.CORES: "cores of both",
    Resource.MEMORY: "memory of both",
    Resource.DESCRIPTORS: "open files",
    Resource.PORTS: "source addresses",
}
_REMEDIES = {
    Resource.GENERATOR: "connect more slowly, or send less",
    Resource.BROKER: "connect more slowly, send less, or start more of them (count in [broker])",
    Resource.CORES: "let broker or workers run on another machine",
    Resource.MEMORY: "spread the devices over several machines",
    Resource.DESCRIPTORS: "raise the hard limit (ulimit -Hn)",
}
_WORK = {
    Kind.CONNECT: "connect",
    Kind.RECONNECT: "reconnect",
    Kind.FAREWELL: "goodbye",
    Kind.FAILURE: "attempt without a broker",
    Kind.MESSAGE: "message",
    Kind.COMMAND: "command with its answer",
    Kind.TEND: "look after a session",
}
_QUIET = "dim"


def render(forecast: Forecast) -> RenderableType:
    """Return the forecast as something that a rich console prints."""
    return Group(*chain.from_iterable((Text(), part) for part in _parts(forecast)))


def _parts(forecast: Forecast) -> Iterator[RenderableType]:
    yield _title(forecast)
    yield _verdict(forecast)
    yield _needs(forecast)
    yield _workers(forecast)
    yield _costs(forecast)
    yield _memory(forecast)


def _title(forecast: Forecast) -> Text:
    changed = f"\nchanged: {_plain(' '.join(forecast.changes))}" if forecast.changes else ""
    about = (
        f"{forecast.scenario}, seed {forecast.seed}: {forecast.devices:,} devices, "
        f"{forecast.connects:,} connects and {forecast.messages:,} messages in {forecast.seconds:,.0f} s",
        f"measured with {_plain(forecast.measured)}",
    )
    text = Text.assemble(
        (_plain(forecast.title), "bold"), changed, *((f"\n{line}", _QUIET) for line in about)
    )
    if forecast.rough:
        text.append(
            "\nRough: this machine was so busy that devices were kept waiting. Plan again when it is not.",
            "bold yellow",
        )
    if forecast.external:
        text.append("\nIt stands in for the scenario's own broker, which a plan never loads.", "yellow")
    return text


def _verdict(forecast: Forecast) -> Text:
    """Say whether it can be done here by one worker, what is scarce, and what helps."""
    scarcest = forecast.needs[0]
    short = [need for need in forecast.needs if need.share > 1]
    if not short:
        times = f"{1 / scarcest.share:.1f}" if scarcest.share else "many"
        return Text.assemble(
            ("It fits on this machine, with one worker.", "bold green"),
            " The limit is the scenario's own pace; at ",
            f"{times} times the load it would be the {_WHAT[scarcest.resource]}.",
        )
    text = Text.assemble(
        ("More than this machine can do with one worker.", "bold yellow"),
        f" The limit is the {_WHAT[scarcest.resource]}.",
    )
    for need in short:
        text.append(f"\n- {_WHAT[need.resource]}: {_remedy(need.resource, forecast)}")
    return text


def _remedy(resource: Resource, forecast: Forecast) -> str:
    match resource:
        case Resource.GENERATOR | Resource.DESCRIPTORS if forecast.workers_needed > 1:
            number = forecast.workers_needed
            return f"{number} workers are enough (--processes {number}); or {_REMEDIES[resource]}"
        case Resource.PORTS:
            return f"let the devices connect from {forecast.source_addresses} addresses (source in [link])"
    return _REMEDIES[resource]


def _needs(forecast: Forecast) -> RenderableType:
    table = _table("Needed, with one worker", "needed", "there is", "used")
    for need in forecast.needs:
        used = Text(f"{need.share:.0%}", "bold yellow" if need.share > 1 else "")
        table.add_row(_WHAT[need.resource], *_amounts(need, forecast), used)
    return table


def _amounts(need: Need, forecast: Forecast) -> tuple[str, str]:
    match need.resource:
        case Resource.MEMORY:
            return f"{need.needed / _MIB:,.0f} MiB", f"{need.available / _MIB:,.0f} MiB"
        case Resource.DESCRIPTORS:
            return f"{need.needed:,.0f}", f"{need.available:,.0f}"
        case Resource.PORTS:
            return str(forecast.source_addresses), str(forecast.sources)
    return f"{need.needed:.2f} cores", f"{need.available:.2f} cores"


def _workers(forecast: Forecast) -> RenderableType:
    needed = forecast.workers_needed
    headings = [f"{each.workers}{' *' if each.workers == needed else ''}" for each in forecast.workers]
    table = _table("Workers (*: enough)", *headings)
    rows: dict[str, Callable[[WorkerForecast], str]] = {
        "busiest second of each, of one core": lambda each: f"{each.cpu_share_peak:.0%}",
        "CPU of each on average": lambda each: f"{each.cpu_share:.0%}",
        "CPU of all together": lambda each: f"{each.cpu_seconds:,.1f} s",
        "memory of each": lambda each: f"{each.memory / _MIB:,.0f} MiB",
        "open files of each": lambda each: f"{each.descriptors:,}",
        "time": lambda each: f"{each.seconds:,.0f} s",
        "behind at worst, generator or broker": lambda each: f"{each.late:,.1f} s",
    }
    for what, figure in rows.items():
        table.add_row(what, *map(figure, forecast.workers))
    table.add_row("busiest stage", Text(_plain(forecast.workers[0].busiest)))
    return table


def _costs(forecast: Forecast) -> RenderableType:
    table = _table("One costs, ms of CPU", "generator", "broker")
    several = len({each.fleet for each in forecast.costs}) > 1
    table.add_row("TLS handshake by itself", f"{forecast.tls_floor / 1000:.3f}", "-")
    for each in forecast.costs:
        broker = "-" if each.broker is None else f"{each.broker / 1000:.3f}"
        name = f"{_WORK[each.kind]} of {each.fleet}" if several else _WORK[each.kind]
        table.add_row(Text(name), f"{each.generator / 1000:.3f}", broker)
    return table


def _memory(forecast: Forecast) -> Text:
    return Text(
        f"A device takes {forecast.memory_device / 1024:,.0f} KiB of the generator's memory, which is "
        f"{forecast.memory_base / _MIB:,.0f} MiB without any. "
        f"Making all certificates takes {forecast.issuing_seconds:,.1f} s before the run."
    )


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style=_QUIET)
    table.add_column(Text(first, "not dim bold"), overflow="fold")
    for heading in others:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _plain(text: str) -> str:
    """Return a text without what a terminal would obey."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
