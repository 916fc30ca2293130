"""What a scenario will take: its load times what work costs, held against what this machine has.

Pure arithmetic; nothing is measured here.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from simulator.clock import MICROSECOND, SECOND
from simulator.engine.descriptors import SPARE
from simulator.planning.figures import (
    BrokerForecast,
    Forecast,
    Need,
    Resource,
    UnitCost,
    WorkerForecast,
)
from simulator.planning.work import Kind, Work
from simulator.scenario.kinds import BrokerKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from simulator.planning.costs import Costs
    from simulator.planning.load import Load
    from simulator.planning.machine import Machine
    from simulator.scenario.loader import LoadedScenario

__all__ = ["BUSY", "forecast"]

BUSY = 0.7
"""Share of a core that one event loop can use and still be on time: beyond, what is due has to wait."""

IN_TIME = 0.9
"""Share of the measured devices that must have connected in time for their costs to be trusted."""

WORKER = 13 << 20
"""Bytes that a worker of Dask holds beside what the simulator holds alone, measured with distributed 2026."""


def forecast(
    loaded: LoadedScenario,
    load: Load,
    costs: Costs,
    machine: Machine,
    *,
    workers: Sequence[int],
    sources: int,
    measured: str,
    tls_floor: float,
) -> Forecast:
    """Return what a scenario takes of one worker, of as many as it needs, and of each number of ``workers``.

    ``sources`` is how many addresses its devices start from; ``measured`` says in words what the costs were
    measured with; ``tls_floor`` is in nanoseconds.
    """
    scenario = loaded.scenario
    local = scenario.broker.kind is not BrokerKind.EXTERNAL
    use = _Use(load, costs, brokers=scenario.broker.count if local else 0)
    one = use.workers(1)
    needed = _workers_needed(use, one, machine)
    brokers = scenario.broker.count if local else len(scenario.broker.endpoints)
    ports = machine.ports * brokers
    port_need = load.connected if local else load.ports  # on one machine, resting ports are taken again
    broker = use.broker_alone() if local else None
    return Forecast(
        scenario=loaded.name,
        title=scenario.title,
        changes=loaded.changes,
        seed=scenario.seed,
        devices=load.devices,
        connects=round(load.total(Kind.CONNECT, Kind.RECONNECT)),
        messages=round(load.total(Kind.MESSAGE) + 2 * load.total(Kind.COMMAND)),
        seconds=round(load.seconds, 1),
        issuing_seconds=round(
            sum(fleet.devices * costs.issuing.get(name, 0.0) for name, fleet in scenario.fleets.items()), 1
        ),
        measured=measured,
        rough=costs.in_time < IN_TIME,
        external=not local,
        workers=tuple(use.workers(number) for number in sorted({1, needed, *workers})),
        workers_needed=needed,
        source_addresses=max(1, ceil(port_need / ports)),
        sources=sources,
        broker=broker,
        needs=tuple(_needs(one, broker, machine, port_need / ports / sources)),
        costs=tuple(_unit_costs(costs, local=local)),
        tls_floor=round(tls_floor / MICROSECOND, 1),
        memory_base=round(costs.generator.base),
        memory_device=round(costs.generator.device),
    )


class _Use:
    """The processor time that a load takes, second by second, in nanoseconds."""

    def __init__(self, load: Load, costs: Costs, *, brokers: int) -> None:
        self._load = load
        self._brokers = brokers
        self._costs = costs
        each = {work: costs.of(work) for work in load.work}
        seconds = [
            [(seconds[place], each[work]) for work, seconds in load.work.items()]
            for place in range(len(next(iter(load.work.values()))))
        ]
        self._generator = [sum(number * cost.generator for number, cost in second) for second in seconds]
        self._broker = [
            sum(number * cost.broker for number, cost in second) / brokers if brokers else 0.0
            for second in seconds
        ]
        farewells = [(number, costs.of(Work(Kind.FAREWELL, name))) for name, number in load.leaving.items()]
        self._end = sum(number * cost.generator for number, cost in farewells)
        self._broker_end = sum(number * cost.broker for number, cost in farewells)

    def workers(self, number: int) -> WorkerForecast:
        """Return what each of so many workers takes, and all of them together."""
        base, load = self._costs.base.generator, self._load
        each = [base + second / number for second in self._generator]
        total = number * base * load.seconds + sum(self._generator) + self._end
        peak = max(each)
        behind, late = map(max, zip(_backlog(each), _backlog(self._broker), strict=True))
        return WorkerForecast(
            workers=number,
            cpu_seconds=round(total / SECOND, 2),
            cpu_share=round(total / number / SECOND / load.seconds, 3),
            cpu_share_peak=round(peak / SECOND, 3),
            busiest=load.stage_of(each.index(peak)),
            memory=round(self._costs.generator.of(load.devices / number)) + WORKER * (number > 1),
            descriptors=ceil(load.devices / number) + SPARE,
            seconds=round(load.seconds + behind, 1),
            late=round(late, 1),
        )

    def broker_alone(self) -> BrokerForecast:
        """Return what the broker takes: each of them where there are several, and all together."""
        base, number = self._costs.base.broker, self._brokers
        total = number * (base * self._load.seconds + sum(self._broker)) + self._broker_end
        return BrokerForecast(
            brokers=number,
            cpu_seconds=round(total / SECOND, 2),
            cpu_share_peak=round((base + max(self._broker)) / SECOND, 3),
            memory=round(self._costs.broker.of(self._load.connected / number)),
            descriptors=ceil(self._load.connected / number) + SPARE,
        )


def _backlog(each: Sequence[float]) -> tuple[float, float]:
    """Return how many seconds of work one core is behind at the end, and at worst."""
    undone = worst = 0.0
    for second in each:
        undone = max(0.0, undone + second - SECOND)
        worst = max(worst, undone)
    return undone / SECOND, worst / SECOND


def _workers_needed(use: _Use, one: WorkerForecast, machine: Machine) -> int:
    """Return how many workers it takes for none to be too busy, or to have too many files open."""
    files = 1
    if machine.descriptors is not None:
        files = ceil((one.descriptors - SPARE) / max(1, machine.descriptors - SPARE))
    number = max(1, files, ceil(one.cpu_share_peak / BUSY))
    while use.workers(number).cpu_share_peak > BUSY and number < 2 * one.cpu_share_peak / BUSY:
        number += 1
    return number


def _needs(
    one: WorkerForecast, broker: BrokerForecast | None, machine: Machine, ports: float
) -> Iterator[Need]:
    """Yield what one worker on this machine needs of each resource, the scarcest first."""
    memory, cores, files = float(one.memory), one.cpu_share_peak, one.descriptors
    needs = [Need(Resource.GENERATOR, one.cpu_share_peak, BUSY), Need(Resource.PORTS, ports, 1.0)]
    if broker is not None:
        needs.append(Need(Resource.BROKER, broker.cpu_share_peak, 1.0))
        memory += broker.memory * broker.brokers
        cores += broker.cpu_share_peak * broker.brokers
        files = max(files, broker.descriptors)
    needs += [Need(Resource.CORES, cores, machine.cores), Need(Resource.MEMORY, memory, machine.memory)]
    if machine.descriptors is not None:
        needs.append(Need(Resource.DESCRIPTORS, files, machine.descriptors))
    yield from sorted(needs, key=lambda need: -need.share)


def _unit_costs(costs: Costs, *, local: bool) -> Iterator[UnitCost]:
    for work, cost in costs.each.items():
        broker = round(cost.broker / MICROSECOND, 1) if local else None
        yield UnitCost(work.kind, work.fleet, round(cost.generator / MICROSECOND, 1), broker)
