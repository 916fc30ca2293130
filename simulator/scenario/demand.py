"""What a scenario asks of its broker: connects and messages a second in each stage, all fleets together.

It is read from the scenario as it stands, before anything is laid out: rates as they are written, an answer
to each command, and the telemetry of every device, whether it is connected by then or not. What devices do by
themselves when they lose their connection is not in it. Values only.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from simulator.clock import SECOND
from simulator.scenario.kinds import ArrivalKind

if TYPE_CHECKING:
    from simulator.scenario.model import Commanding, Connect, Fleet, Publishing, Reconnection, Scenario, Stage

__all__ = ["Demand", "demands"]


@dataclass(frozen=True, slots=True)
class Demand:
    """The most that one stage asks for in any second of it."""

    stage: str
    connects: float
    messages: float


def demands(scenario: Scenario) -> tuple[Demand, ...]:
    """Return what each stage asks for."""
    telemetry = sum(_telemetry(fleet) for fleet in scenario.fleets.values())
    return tuple(
        Demand(
            stage.name,
            connects=_connects(scenario, stage),
            messages=telemetry + _messages(stage),
        )
        for stage in scenario.stages
    )


def _telemetry(fleet: Fleet) -> float:
    return fleet.devices * SECOND / fleet.telemetry.every if fleet.telemetry else 0.0


def _messages(stage: Stage) -> float:
    messages = _peak(stage.publish, stage.publish.rate) if stage.publish else 0.0
    if stage.command:
        messages += 2 * _peak(stage.command, stage.command.rate)
    return messages


def _connects(scenario: Scenario, stage: Stage) -> float:
    connects = _peak(stage.connect, stage.connect.rate) if stage.connect else 0.0
    if stage.reconnect:
        connects += _peak(stage.reconnect, _reconnect_rate(stage.reconnect, scenario))
    return connects


def _reconnect_rate(reconnect: Reconnection, scenario: Scenario) -> float:
    if reconnect.within is None:
        return reconnect.rate or 0.0
    devices = round(scenario.fleets[reconnect.fleet].devices * reconnect.share)
    return devices * SECOND / reconnect.within


def _peak(arriving: Commanding | Connect | Publishing | Reconnection, rate: float) -> float:
    """Return the highest rate of an arrival process whose rate in the long run is ``rate``."""
    match arriving.arrivals:
        case ArrivalKind.RAMP:
            return max(arriving.from_rate, rate)
        case ArrivalKind.BURST:
            size = arriving.size or 1
            return float(size * max(ceil(rate / size), 1))  # as many bursts as begin within a second
        case _:
            return rate
