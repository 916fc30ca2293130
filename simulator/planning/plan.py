"""A plan from a scenario to its forecast: count, measure, multiply."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.brokers.mosquitto import is_installed
from simulator.identity.authority import Authority
from simulator.link.floor import handshake_floor
from simulator.link.source import sources_here
from simulator.link.tls import TlsSettings
from simulator.planning.costs import costs
from simulator.planning.forecast import forecast
from simulator.planning.load import count
from simulator.planning.machine import this_machine
from simulator.planning.miniature import miniature
from simulator.planning.probe import probe
from simulator.scenario.kinds import BrokerKind, KeyKind, MqttVersion

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from simulator.engine.coordinator import Coordinator
    from simulator.engine.watcher import Watcher
    from simulator.planning.figures import Forecast
    from simulator.report.figures import Report
    from simulator.scenario.loader import LoadedScenario
    from simulator.scenario.model import Fleet, Scenario

__all__ = ["plan"]


def plan(
    loaded: LoadedScenario,
    workers: Sequence[int],
    view: Watcher,
    unseen: Watcher,
    run: Callable[[Coordinator], Report | None],
) -> Forecast | None:
    """Return the forecast of a scenario; None where the user ended the measurement early.

    ``workers`` are numbers of workers to forecast for beside one; for the others see ``probe``. Raises a
    SimulatorError where the scenario's devices cannot be measured.
    """
    load, machine = count(loaded.scenario), this_machine()
    mini = miniature(loaded, load, broker_kind(loaded.scenario))
    measured = probe(mini, view, unseen, run)
    if measured is None:
        return None
    devices = sum(fleet.devices for fleet in mini.fleets.values())
    return forecast(
        loaded,
        load,
        costs(measured, mini),
        machine,
        workers=workers,
        sources=sources(loaded.scenario),
        measured=f"{devices:,} of its devices for {measured.seconds:.0f} s against {measured.broker}",
        tls_floor=tls_floor(next(iter(mini.fleets.values()))),
    )


def sources(scenario: Scenario) -> int:
    """Return how many addresses of this machine the scenario's devices start from.

    Raises UsageError where it names some, and this machine has none of them.
    """
    return min(map(len, sources_here(scenario.link.source).values()), default=1)


def tls_floor(fleet: Fleet) -> float:
    """Return the processor time that a handshake of this fleet takes whatever a client does, nanoseconds."""
    authority = Authority.create("Plan")
    server = authority.issue_server(["localhost"], key=KeyKind.EC_P256)
    device = authority.issue_device("plan", key=fleet.key)
    settings = TlsSettings(fleet.tls, fleet.groups, fleet.ciphers, trust=(authority.root,))
    return handshake_floor(settings, device, server)


def broker_kind(scenario: Scenario) -> BrokerKind:
    """Return which broker to measure against: a stand-in for one that is somebody else's."""
    if scenario.broker.kind is not BrokerKind.EXTERNAL:
        return scenario.broker.kind
    only_mosquitto = any(fleet.mqtt is MqttVersion.V5 for fleet in scenario.fleets.values())
    return BrokerKind.MOSQUITTO if only_mosquitto or is_installed() else BrokerKind.EMBEDDED
