"""Readings that were made from known costs give those costs back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from simulator.clock import SECOND
from simulator.devices.context import tend_every
from simulator.planning.costs import Cost, Memory, costs
from simulator.planning.load import count
from simulator.planning.miniature import IDLE, miniature
from simulator.planning.probe import Measurement, Reading
from simulator.planning.work import Kind, Work
from simulator.scenario.kinds import BrokerKind
from simulator.scenario.loader import load

if TYPE_CHECKING:
    from simulator.planning.miniature import Miniature

BASE, TEND = 3_000_000, 200_000
UNITS = {
    Kind.CONNECT: 2_000_000,
    Kind.RECONNECT: 2_100_000,
    Kind.MESSAGE: 150_000,
    Kind.COMMAND: 400_000,
    Kind.FAREWELL: 300_000,
}
CONNECT = Work(Kind.CONNECT, "core2")
MIB = 1 << 20


def small() -> Miniature:
    scenario = load("end-to-end")
    return miniature(scenario, count(scenario.scenario), BrokerKind.EMBEDDED)


def reading(mini: Miniature, stage: str, kind: Kind | None, number: int, connected: int) -> Reading:
    """Return two seconds in which so much was done, while so many were connected; the broker took double."""
    tends = 2 * connected * SECOND / tend_every(mini.fleets["core2"])
    cpu = round(2 * BASE + tends * TEND + (number * UNITS[kind] if kind else 0))
    counted = {Kind.RECONNECT: Kind.CONNECT, Kind.COMMAND: Kind.MESSAGE}.get(kind, kind) if kind else None
    memory = 70 * MIB + (20 * MIB if connected else 0)
    broker = 40 * MIB + (10 * MIB if connected else 0)
    done = {Work(counted, "core2"): number} if counted else {}
    return Reading(stage, 2.0, cpu, 2 * cpu, memory, broker, {"core2": connected}, done)


def measurement(mini: Miniature) -> Measurement:
    devices = mini.fleets["core2"].devices
    readings = [reading(mini, IDLE, None, 0, 0)]
    for name, work in mini.stages.items():
        kind = None if work.kind is Kind.TEND else work.kind
        number = {Kind.CONNECT: devices, Kind.FAREWELL: devices // 2}.get(work.kind, 100)
        readings.append(reading(mini, name, kind, number, devices))
    return Measurement(tuple(readings), 66 * MIB, {"core2": 0.001}, "a broker", 12.0)


def test_known_costs_come_out_again() -> None:
    mini = small()
    found = costs(measurement(mini), mini)
    assert found.base == Cost(BASE, 2 * BASE)
    assert found.of(Work(Kind.TEND, "core2")).generator == pytest.approx(TEND, rel=0.001)
    for kind, unit in UNITS.items():
        cost = found.of(Work(kind, "core2"))
        assert cost.generator == pytest.approx(unit, rel=0.01), kind
        assert cost.broker == pytest.approx(2 * unit, rel=0.01), kind


def test_memory_is_that_of_a_device_and_the_rest() -> None:
    mini = small()
    found, devices = costs(measurement(mini), mini), mini.fleets["core2"].devices
    assert found.generator == Memory(66 * MIB, 24 * MIB / devices)
    assert found.broker == Memory(40 * MIB, 10 * MIB / devices)
    assert found.generator.of(2 * devices) == 114 * MIB


def test_a_fleet_that_was_not_measured_costs_what_others_do() -> None:
    mini = small()
    found = costs(measurement(mini), mini)
    assert found.of(Work(Kind.CONNECT, "other")) == found.of(Work(Kind.CONNECT, "core2"))
    assert found.of(Work(Kind.FAILURE, "other")) == Cost()


def test_what_cannot_be_told_from_the_rest_is_not_taken_for_free() -> None:
    mini = small()
    whole = measurement(mini)
    hidden = tuple(replace(each, cpu=0) if each.stage == "message core2" else each for each in whole.readings)
    assert Work(Kind.MESSAGE, "core2") not in costs(replace(whole, readings=hidden), mini).each


def test_nothing_costs_less_than_nothing() -> None:
    assert Cost(1, 5).less(Cost(2, 2), 1) == Cost(0, 3)
    assert Cost(1, 1).share(0) == Cost()


def test_what_runs_over_into_the_next_stage_is_told_apart() -> None:
    """A fifth of the devices connect only while others publish, and the costs stay what they are."""
    mini = small()
    whole, devices = measurement(mini), mini.fleets["core2"].devices
    late = devices // 5
    moved = {"connect core2": -late, "message core2": late}
    readings = [
        replace(
            each,
            cpu=each.cpu + moved.get(each.stage, 0) * UNITS[Kind.CONNECT],
            done={**each.done, CONNECT: each.done.get(CONNECT, 0) + moved.get(each.stage, 0)},
            connected={"core2": devices - late} if each.stage == "connect core2" else each.connected,
        )
        for each in whole.readings
    ]
    found = costs(replace(whole, readings=tuple(readings)), mini)
    assert found.of(CONNECT).generator == pytest.approx(UNITS[Kind.CONNECT], rel=0.05)
    assert found.of(Work(Kind.MESSAGE, "core2")).generator == pytest.approx(UNITS[Kind.MESSAGE], rel=0.1)
    assert (costs(whole, mini).in_time, found.in_time) == pytest.approx((1, 0.8), abs=0.01)
