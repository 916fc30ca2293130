"""The miniature of a scenario: few devices of each fleet, as they are, that do each kind of work by itself.

What one message costs depends on how busy the generator is, so the miniature is as busy as the scenario where
a few devices can be. It is made without measuring anything, and never loads a broker of somebody else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from simulator.clock import MILLISECOND, SECOND
from simulator.planning.work import Kind, Work
from simulator.scenario import listening
from simulator.scenario.kinds import BrokerKind, KeyKind
from simulator.scenario.link import Link
from simulator.scenario.model import Broker, Limits, Stage, Telemetry
from simulator.scenario.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulator.planning.load import Load
    from simulator.scenario.loader import LoadedScenario
    from simulator.scenario.model import Fleet, Scenario

__all__ = ["FLEETS", "IDLE", "Miniature", "miniature", "warm_up"]

FLEETS = 4
"""Most fleets that are measured, the largest; the others are taken to be like them."""

IDLE = "idle"
"""Name of the stage in which nothing is done."""

_SECONDS = {Kind.CONNECT: 4.0, Kind.RECONNECT: 2.0, Kind.MESSAGE: 2.5, Kind.COMMAND: 1.5}
"""How long all fleets together take for a kind of work."""
_RATES = {Kind.MESSAGE: (100.0, 1000.0), Kind.COMMAND: (20.0, 200.0)}
"""The least and the most that becomes due in a second."""
_CONNECTS = {BrokerKind.EMBEDDED: (60.0, 100.0), BrokerKind.MOSQUITTO: (60.0, 200.0)}
"""The same of connects, which these brokers can take on half a core of a slow machine."""
_DEVICES = {KeyKind.RSA_2048: 100, KeyKind.RSA_3072: 30}
"""Most devices with keys that take long to make."""
_SETTLING = 0.5
"""Seconds at the end of a stage in which what was begun last can end."""
_NEVER = 3600 * SECOND
_SHORTEST_PATIENCE = SECOND


@dataclass(frozen=True, slots=True)
class Miniature:
    """A scenario to be run, what each of its stages but the first measures, and its fleets."""

    loaded: LoadedScenario
    stages: dict[str, Work]
    fleets: dict[str, Fleet]


def miniature(loaded: LoadedScenario, load: Load, broker: BrokerKind) -> Miniature:
    """Return the miniature of a scenario, against a broker of this kind that the run starts."""
    scenario = loaded.scenario
    connects = _within(load.peak(Kind.CONNECT, Kind.RECONNECT), _CONNECTS[broker])
    fleets = _fleets(scenario, connects)
    kept = scenario.model_copy(
        update={
            "broker": Broker.model_validate({"kind": broker}),
            "fleets": fleets,
            "link": Link() if scenario.broker.kind is BrokerKind.EXTERNAL else scenario.link,
            "observe": _observe(scenario, fleets),
            "cloud": scenario.cloud.model_copy(update={"certificate": None, "key": None}),
            "thresholds": (),
            "limits": Limits.model_validate({"lag": "60s"}),
        }
    )
    parts = {
        f"{work.kind} {work.fleet}": (work, does) for work, does in _parts(scenario, fleets, load, connects)
    }
    stages = [Stage.model_validate({"name": IDLE, "duration": "1s"})]
    stages += [Stage.model_validate({"name": name, **does}) for name, (_, does) in parts.items()]
    changed = kept.model_copy(update={"stages": tuple(stages)})
    return Miniature(
        replace(loaded, scenario=changed), {name: work for name, (work, _) in parts.items()}, fleets
    )


def warm_up(mini: Miniature) -> LoadedScenario:
    """Return a still smaller one, which brings into memory what any run needs."""
    scenario = mini.loaded.scenario
    fleets = {name: fleet.model_copy(update={"devices": 2}) for name, fleet in mini.fleets.items()}
    action = _at(next(iter(fleets)), 100.0)
    stages = tuple(
        Stage.model_validate({"name": name, name: action, "duration": "100ms"})
        for name in ("connect", "publish")
    )
    changed = scenario.model_copy(update={"fleets": fleets, "stages": stages})
    return replace(mini.loaded, scenario=changed)


def _fleets(scenario: Scenario, connects: float) -> dict[str, Fleet]:
    """Return the largest fleets with few devices each, in the proportion that they have."""
    largest = sorted(scenario.fleets.items(), key=lambda each: -each[1].devices)[:FLEETS]
    whole = sum(fleet.devices for _, fleet in largest)
    wanted = _SECONDS[Kind.CONNECT] * connects
    made = {}
    for name, fleet in largest:
        number = round(min(wanted, whole) * fleet.devices / whole)
        devices = min(max(number, 10), fleet.devices, _DEVICES.get(fleet.key, fleet.devices))
        made[name] = _few(fleet, devices, external=scenario.broker.kind is BrokerKind.EXTERNAL)
    return made


def _few(fleet: Fleet, devices: int, *, external: bool) -> Fleet:
    """Return a fleet of few devices that speak when a stage says so, and tend as often as all of it would."""
    telemetry = fleet.telemetry or Telemetry.model_validate(
        {"topic": "plan/{device}", "every": "1h", "qos": 1, "payload": {"size": "64B"}}
    )
    patience = max(min(fleet.ack_timeout, _SHORTEST_PATIENCE), fleet.ack_timeout * devices // fleet.devices)
    changes: dict[str, object] = {
        "devices": devices,
        "store": None,
        "revoked": 0.0,
        "telemetry": telemetry.model_copy(update={"every": _NEVER, "jitter": 0.0}),
        "ack_timeout": patience,
        "reconnect": fleet.reconnect.model_copy(update={"first": SECOND, "most": SECOND}),
    }
    if external:  # the name is that of a broker which is not loaded
        changes["server_name"] = None
    return fleet.model_copy(update=changes)


def _observe(scenario: Scenario, fleets: dict[str, Fleet]) -> object:
    """Return what is observed, which is not the telemetry that a silent fleet has in the miniature alone."""
    observed = [name for name in listening.observed(scenario.observe, scenario.fleets) if name in fleets]
    if scenario.observe is None or not observed:
        return None
    return scenario.observe.model_copy(update={"fleets": tuple(observed)})


def _within(rate: float, bounds: tuple[float, float]) -> float:
    """Return a scenario's rate, or what a probe can do of it."""
    least, most = bounds
    return min(max(rate, least), most)


def _parts(
    scenario: Scenario, fleets: dict[str, Fleet], load: Load, connects: float
) -> Iterator[tuple[Work, dict[str, object]]]:
    """Yield what each stage measures, after one in which nothing happens, and what happens in it."""
    first = next(iter(fleets))
    for name, fleet in fleets.items():
        connect = {**_at(name, connects), **_bursts(scenario, name, fleet.devices)}
        lasting = _lasting(fleet.devices / connects + _SETTLING)
        yield Work(Kind.CONNECT, name), {"connect": connect, "duration": lasting}
    yield Work(Kind.TEND, first), {"duration": "1500ms"}
    yield from _speaking(scenario, fleets, load)
    again = [name for name in fleets if any(load.work.get(Work(Kind.RECONNECT, name), ()))]
    for name in again:
        share = min(1.0, connects * _SECONDS[Kind.RECONNECT] / len(again) / fleets[name].devices)
        reconnect = {**_at(name, connects), "share": share}
        lasting = _lasting(share * fleets[name].devices / connects + _SETTLING)
        yield Work(Kind.RECONNECT, name), {"reconnect": reconnect, "duration": lasting}
    leave = {"fleet": first, "share": 0.5, "within": "100ms"}
    yield Work(Kind.FAREWELL, first), {"disconnect": leave, "duration": _lasting(_SETTLING)}
    if load.total(Kind.FAILURE):
        yield Work(Kind.FAILURE, first), {"duration": "2s", "outage": "2s"}


def _bursts(scenario: Scenario, fleet: str, devices: int) -> dict[str, object]:
    """Return how many connect at once, where they do in the scenario: that is cheaper than one by one."""
    found = (stage.connect for stage in scenario.stages if stage.connect and stage.connect.fleet == fleet)
    size = next((connect.size for connect in found), None)
    return {"arrivals": "burst", "size": min(size, devices)} if size else {}


def _speaking(
    scenario: Scenario, fleets: dict[str, Fleet], load: Load
) -> Iterator[tuple[Work, dict[str, object]]]:
    """Yield the stages in which devices publish, and those in which they are told what to do."""
    commanded = listening.commanded(fleets, scenario.stages)
    for kind, action, names in ((Kind.MESSAGE, "publish", [*fleets]), (Kind.COMMAND, "command", commanded)):
        for name in names:
            lasting = _lasting(_SECONDS[kind] / len(names))
            yield (
                Work(kind, name),
                {action: _at(name, _within(load.peak(kind), _RATES[kind])), "duration": lasting},
            )


def _lasting(seconds: float) -> str:
    return format_duration(round(seconds * 1000) * MILLISECOND)


def _at(fleet: str, rate: float) -> dict[str, object]:
    return {"fleet": fleet, "rate": f"{rate:.3f}/s"}
