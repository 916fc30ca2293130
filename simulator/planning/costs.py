"""From a probe's readings to what one connect, one message, one device takes: arithmetic, and no more.

Each stage of a miniature does one kind of work above all, and some of others: devices are tended, and on a
busy machine the end of what came before runs into it. So there is an equation for each kind of work, and they
are solved together, by turns (Gauss and Seidel), with no cost below nothing.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from simulator.clock import SECOND
from simulator.devices.context import tend_every
from simulator.planning.miniature import IDLE
from simulator.planning.work import Kind, Work

if TYPE_CHECKING:
    from collections.abc import Mapping

    from simulator.planning.miniature import Miniature
    from simulator.planning.probe import Measurement, Reading

__all__ = ["Cost", "Costs", "Memory", "costs"]


ROUNDS = 30
"""By then the costs have settled: what runs over from one stage into another is little."""


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
    in_time: float
    """Share of the devices that were connected when they should have been: the costs are rough below 1."""

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
    books = _books(measured, mini)
    idle = books.pop(IDLE)
    base = idle.cpu.share(idle.seconds)
    each = dict.fromkeys(mini.stages.values(), Cost())
    for _ in range(ROUNDS):
        for name, work in mini.stages.items():
            book = books[name]
            left = book.cpu.less(base, book.seconds)
            for other, number in book.done.items():
                if other != work:
                    left = left.less(each.get(other, Cost()), number)
            each[work] = left.share(book.done[work])
    generator, broker = _memory(measured, mini)
    known = {work: cost for work, cost in each.items() if cost.generator or work.kind is Kind.TEND}
    return Costs(base, known, generator, broker, measured.issuing, _in_time(measured, mini))


@dataclass(slots=True)
class _Book:
    """What one stage took, and all that was done in it: its own work, and the end of what came before."""

    cpu: Cost = field(default_factory=Cost)
    seconds: float = 0.0
    done: Counter[Work] = field(default_factory=Counter)


def _books(measured: Measurement, mini: Miniature) -> dict[str, _Book]:
    """Return a book for each stage."""
    books = {name: _Book() for name in (IDLE, *mini.stages)}
    tend = next(work for work in mini.stages.values() if work.kind is Kind.TEND)
    connected = dict.fromkeys(mini.fleets, 0)
    for reading in measured.readings:
        if reading.stage not in books:
            continue
        book = books[reading.stage]
        book.cpu = Cost(book.cpu.generator + reading.cpu, book.cpu.broker + reading.broker_cpu)
        book.seconds += reading.seconds
        book.done[tend] += _tends(reading, mini)
        for work, number in reading.done.items():
            if work.kind is Kind.CONNECT:
                first = min(number, mini.fleets[work.fleet].devices - connected[work.fleet])
                connected[work.fleet] += first
                book.done[work] += first
                book.done[Work(Kind.RECONNECT, work.fleet)] += number - first
            else:
                book.done[_meant(work, mini.stages.get(reading.stage))] += number
    for name, work in mini.stages.items():
        if work.kind is Kind.FAREWELL:
            books[name].done[work] = mini.fleets[work.fleet].devices // 2
    return books


def _in_time(measured: Measurement, mini: Miniature) -> float:
    """Return the share of the devices that were connected when all connects should have ended."""
    ramps = [name for name, work in mini.stages.items() if work.kind is Kind.CONNECT]
    last = next((each for each in reversed(measured.readings) if each.stage == ramps[-1]), None)
    devices = sum(fleet.devices for fleet in mini.fleets.values())
    return sum(last.connected.values()) / devices if last is not None else 0.0


def _meant(work: Work, stage: Work | None) -> Work:
    """Return what was done: a message in a stage of commands is the answer to one."""
    answer = stage is not None and work.kind is Kind.MESSAGE and stage.kind is Kind.COMMAND
    return stage if answer and stage is not None else work


def _tends(reading: Reading, mini: Miniature) -> int:
    """Return how often devices looked after their sessions."""
    return round(
        sum(
            reading.seconds * connected * SECOND / tend_every(mini.fleets[name])
            for name, connected in reading.connected.items()
        )
    )


def _memory(measured: Measurement, mini: Miniature) -> tuple[Memory, Memory]:
    """Return what generator and broker hold for a device, from before the first to when all are connected."""
    devices = sum(fleet.devices for fleet in mini.fleets.values())
    most = max(measured.readings, key=lambda each: sum(each.connected.values()))
    empty = next((each for each in measured.readings if each.stage == IDLE), most)
    connected = max(1, sum(most.connected.values()))
    generator = (most.memory - measured.memory) / devices
    broker = (most.broker_memory - empty.broker_memory) / connected
    return Memory(measured.memory, max(0.0, generator)), Memory(empty.broker_memory, max(0.0, broker))
