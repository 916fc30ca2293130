from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from simulator.clock import MILLISECOND
from simulator.planning.costs import Cost, Costs, Memory
from simulator.planning.figures import Resource
from simulator.planning.forecast import WORKER, forecast
from simulator.planning.load import count
from simulator.planning.machine import Machine, this_machine
from simulator.planning.text import render
from simulator.planning.work import Kind, Work
from tests.planning.made import loaded

if TYPE_CHECKING:
    from pathlib import Path

    from simulator.planning.figures import Forecast

MIB = 1 << 20
MACHINE = Machine(cores=4, memory=8_000 * MIB, descriptors=2_000, ports=28_000)
COSTS = Costs(
    base=Cost(3 * MILLISECOND, MILLISECOND),
    each={
        Work(Kind.CONNECT, "core2"): Cost(2 * MILLISECOND, 4 * MILLISECOND),
        Work(Kind.RECONNECT, "core2"): Cost(2 * MILLISECOND, 4 * MILLISECOND),
        Work(Kind.MESSAGE, "core2"): Cost(MILLISECOND // 10, MILLISECOND // 5),
    },
    generator=Memory(60 * MIB, 0.05 * MIB),
    broker=Memory(20 * MIB, 0.01 * MIB),
    issuing={"core2": 0.001},
    in_time=1.0,
)


def planned(
    folder: Path,
    *changes: str,
    machine: Machine = MACHINE,
    workers: tuple[int, ...] = (),
    costs: Costs = COSTS,
    broker: str | None = None,
    sources: int = 1,
) -> Forecast:
    scenario = loaded(folder, *changes, broker=broker)
    counted = count(scenario.scenario)
    return forecast(
        scenario,
        counted,
        costs,
        machine,
        workers=workers,
        sources=sources,
        measured="ten devices against a broker",
        tls_floor=1.5 * MILLISECOND,
    )


def shown(made: Forecast) -> str:
    console = Console(width=80, highlight=False)
    with console.capture() as capture:
        console.print(render(made))
    text = capture.get()
    assert max(map(len, text.splitlines())) <= 80
    return " ".join(text.split())


def needs(made: Forecast) -> dict[Resource, float]:
    return {need.resource: need.share for need in made.needs}


def test_processor_time_is_what_is_due_times_what_it_costs(tmp_path: Path) -> None:
    scenario = loaded(tmp_path).scenario
    load = count(scenario)
    (one,) = planned(tmp_path).workers
    by_hand = load.seconds * 3 + 15 * 2 + load.total(Kind.MESSAGE) * 0.1
    assert one.cpu_seconds == pytest.approx(by_hand / 1000, abs=0.01)
    assert one.cpu_share == pytest.approx(by_hand / 1000 / load.seconds, abs=0.01)
    assert one.cpu_share_peak >= one.cpu_share
    assert one.memory == round(60.5 * MIB)
    assert one.seconds == pytest.approx(load.seconds, abs=0.05)


def test_workers_share_the_devices_and_not_what_each_takes_anyway(tmp_path: Path) -> None:
    made = planned(tmp_path, "fleet.core2.devices=1000", workers=(2, 4))
    one, two, four = (next(each for each in made.workers if each.workers == number) for number in (1, 2, 4))
    assert two.cpu_seconds - one.cpu_seconds == pytest.approx(0.003 * made.seconds, abs=0.02)
    assert four.memory == pytest.approx((60 + 250 * 0.05) * MIB + WORKER)
    assert four.descriptors == 250 + 64


def test_a_busy_scenario_needs_more_workers_and_says_why(tmp_path: Path) -> None:
    made = planned(tmp_path, "fleet.core2.devices=1000", 'stage.ramp.connect.rate="500/s"')
    assert made.workers_needed > 1
    enough = next(each for each in made.workers if each.workers == made.workers_needed)
    assert enough.cpu_share_peak <= 0.7 < made.workers[0].cpu_share_peak
    assert made.needs[0].resource is Resource.BROKER
    text = shown(made)
    assert "More than this machine can do with one worker. The limit is the broker's CPU." in text
    assert f"{made.workers_needed} *" in text


def test_what_cannot_be_done_in_time_takes_longer(tmp_path: Path) -> None:
    made = planned(tmp_path, "fleet.core2.devices=2000", 'stage.ramp.connect.rate="2000/s"')
    assert made.workers[0].seconds > made.seconds + 1
    assert made.workers[0].late >= made.workers[0].seconds - made.seconds


def test_a_small_scenario_fits_at_its_own_pace(tmp_path: Path) -> None:
    made = planned(tmp_path)
    assert (made.workers_needed, made.source_addresses) == (1, 1)
    assert max(needs(made).values()) < 1
    assert "It fits on this machine, with one worker. The limit is the scenario's own pace" in shown(made)


def test_each_resource_can_be_the_limit(tmp_path: Path) -> None:
    changes = (
        "fleet.core2.devices=1500",
        'fleet.core2.telemetry.every="1h"',
        "stage.storm.reconnect.share=0.01",
    )
    short = {
        Resource.MEMORY: replace(MACHINE, memory=100 * MIB),
        Resource.DESCRIPTORS: replace(MACHINE, descriptors=500),
        Resource.PORTS: replace(MACHINE, ports=400),
    }
    for resource, machine in short.items():
        made = planned(tmp_path, *changes, machine=machine)
        assert made.needs[0].resource is resource
        assert made.needs[0].share > 1
        assert "The limit is the" in shown(made)
    assert planned(tmp_path, *changes, machine=short[Resource.PORTS]).source_addresses == 4
    pooled = planned(tmp_path, *changes, machine=short[Resource.PORTS], sources=4)
    assert needs(pooled)[Resource.PORTS] <= 1
    few_files = planned(tmp_path, *changes, machine=short[Resource.DESCRIPTORS])
    assert few_files.workers_needed == 4
    assert few_files.workers[-1].descriptors <= 500


def test_several_brokers_share_the_work(tmp_path: Path) -> None:
    changes = ("fleet.core2.devices=1000", "broker.count=4")
    one, four = (planned(tmp_path, *changes[:number], broker="mosquitto") for number in (1, 2))
    assert one.broker is not None
    assert four.broker is not None
    assert four.broker.cpu_share_peak == pytest.approx(one.broker.cpu_share_peak / 4, rel=0.01)
    assert four.broker.cpu_seconds == pytest.approx(one.broker.cpu_seconds, abs=0.1)
    assert (four.broker.brokers, four.broker.descriptors) == (4, 250 + 64)
    assert needs(four)[Resource.PORTS] == pytest.approx(needs(one)[Resource.PORTS] / 4)


def test_nothing_is_said_of_a_broker_that_is_somebody_elses(tmp_path: Path) -> None:
    made = planned(tmp_path, broker="one.example:8883,two.example:8883")
    assert made.broker is None
    assert Resource.BROKER not in needs(made)
    assert all(cost.broker is None for cost in made.costs)
    assert needs(made)[Resource.PORTS] == pytest.approx(15 / 28_000 / 2, rel=0.01)  # ports rest for a minute
    assert "which a plan never loads" in shown(made)


def test_a_measurement_on_a_busy_machine_is_called_rough(tmp_path: Path) -> None:
    assert "Rough" not in shown(planned(tmp_path))
    assert "Rough: this machine was so busy" in shown(planned(tmp_path, costs=replace(COSTS, in_time=0.5)))


def test_json_has_it_all(tmp_path: Path) -> None:
    read = json.loads(planned(tmp_path, workers=(3,)).to_json())
    assert [each["workers"] for each in read["workers"]] == [1, 3]
    assert {each["resource"] for each in read["needs"]} == set(Resource)
    assert (read["devices"], read["connects"], read["tls_floor"]) == (10, 15, 1500.0)
    assert (read["memory_device"], read["issuing_seconds"]) == (round(0.05 * MIB), 0.0)


def test_this_machine_has_something_of_everything() -> None:
    machine = this_machine()
    assert machine.cores >= 1
    assert machine.memory > 10 * MIB
    assert 500 < machine.ports < 65_536
    assert machine.descriptors is None or machine.descriptors >= 64


def test_a_second_of_broker_time_is_counted_in_seconds(tmp_path: Path) -> None:
    broker = planned(tmp_path).broker
    assert broker is not None
    assert broker.cpu_seconds == pytest.approx((15 * 4 + 2) / 1000, abs=0.05)
    assert broker.memory == round(20.1 * MIB)
