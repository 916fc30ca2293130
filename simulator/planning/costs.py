"""From a probe's readings to what one connect, one message, one device takes: arithmetic, and no more.

Each stage of a miniature does one kind of work, so what is left of its processor time, once the ground costs
and the tending of those who are connected are taken off, is that of its work.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from simulator.clock import SECOND
from simulator.devices.context import tend_every
from simulator.planning.miniature import IDLE
from simulator.planning.work import Kind, Work

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from simulator.planning.miniature import Miniature
    from simulator.planning.probe import Measurement, Reading

__all__ = ["Cost", "Costs", "Memory", "costs"]


class Cost(NamedTuple):
    """Processor time, in nanoseconds: the generator's, and the broker's."""

    generator: float = 0.0
    broker: float = 0.0

    def less(self, other: Cost, times: float) -> Cost:
        """Return what is left without so many of another cost, and never less than nothing."""
        return Cost(
            max(0.0, self.generator - other.generator * times), max(0.0, self.broker - other.broker * times)
        )

    def share(self, parts: float) -> Cost:
        """Return the cost of one of so many."""
        return Cost(self.generator / parts, self.broker / parts) if parts else Cost()


class Memory(NamedTuple):
    """Resident memory in bytes: without devices, and for each."""

    base: float
    device: float

    def of(self, devices: float) -> float:
        """Return the memory with so many devices."""
        return self.base + devices * self.device


@dataclass(frozen=True, slots=True)
class Costs:
    """What work costs here. ``base`` is the cost of each second in which nothing is done."""

    base: Cost
    each: Mapping[Work, Cost]
    generator: Memory
    broker: Memory
    issuing: Mapping[str, float]
    """Seconds to issue one certificate, by fleet."""

    def of(self, work: Work) -> Cost:
        """Return what one piece of work costs; of a fleet that was not measured, what it costs on average."""
        if work in self.each:
            return self.each[work]
        alike = [cost for known, cost in self.each.items() if known.kind is work.kind]
        return (
            Cost(
                sum(cost.generator for cost in alike) / len(alike),
                sum(cost.broker for cost in alike) / len(alike),
            )
            if alike
            else Cost()
        )


def costs(measured: Measurement, mini: Miniature) -> Costs:
    """Return what a measurement says that work costs."""
    stages = {
        name: [each for each in measured.readings if each.stage == name] for name in (IDLE, *mini.stages)
    }
    idle = stages[IDLE]
    base = _cpu(idle).share(_seconds(idle))
    tending = next(name for name, work in mini.stages.items() if work.kind is Kind.TEND)
    alone = _cpu(stages[tending]).less(base, _seconds(stages[tending]))
    tend = alone.share(_tends(stages[tending], mini))
    each = {}
    for name, work in mini.stages.items():
        readings = stages[name]
        left = _cpu(readings).less(base, _seconds(readings)).less(tend, _tends(readings, mini))
        each[work] = tend if work.kind is Kind.TEND else left.share(_done(readings, work, mini))
    generator, broker = _memory(measured, mini)
    return Costs(base, each, generator, broker, measured.issuing)


def _cpu(readings: Iterable[Reading]) -> Cost:
    readings = tuple(readings)
    return Cost(sum(each.cpu for each in readings), sum(each.broker_cpu for each in readings))


def _seconds(readings: Iterable[Reading]) -> float:
    return sum(each.seconds for each in readings)


def _tends(readings: Iterable[Reading], mini: Miniature) -> float:
    """Return how often devices looked after their sessions."""
    return sum(
        each.seconds * connected * SECOND / tend_every(mini.fleets[name])
        for each in readings
        for name, connected in each.connected.items()
    )


def _done(readings: list[Reading], work: Work, mini: Miniature) -> float:
    """Return how much of its work a stage has done."""
    match work.kind:
        case Kind.CONNECT | Kind.RECONNECT:
            counted = Kind.CONNECT
        case Kind.COMMAND:  # each has its answer
            counted = Kind.MESSAGE
        case Kind.FAREWELL:
            return mini.fleets[work.fleet].devices / 2
        case kind:
            counted = kind
    return sum(each.done.get(counted, 0) for each in readings)


def _memory(measured: Measurement, mini: Miniature) -> tuple[Memory, Memory]:
    """Return what generator and broker hold for a device, from before the first to when all are connected."""
    devices = sum(fleet.devices for fleet in mini.fleets.values())
    most = max(measured.readings, key=lambda each: sum(each.connected.values()))
    empty = next((each for each in measured.readings if each.stage == IDLE), most)
    connected = max(1, sum(most.connected.values()))
    generator = (most.memory - measured.memory) / devices
    broker = (most.broker_memory - empty.broker_memory) / connected
    return Memory(measured.memory, max(0.0, generator)), Memory(empty.broker_memory, max(0.0, broker))
