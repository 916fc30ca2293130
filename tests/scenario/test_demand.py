from __future__ import annotations

import pytest

from simulator.scenario.demand import Demand, demands
from simulator.scenario.model import Scenario

REPORTING: dict[str, object] = {"devices": 40, "telemetry": {"topic": "t", "every": "2s"}}
SILENT: dict[str, object] = {"devices": 10}


def asked(*stages: dict[str, object], **fleets: dict[str, object]) -> tuple[Demand, ...]:
    connected = {"name": "connected"} | {"connect": {"fleet": "core2", "rate": "1/s"}}
    fleets.setdefault("core2", SILENT)
    scenario = Scenario.model_validate({"title": "x", "fleet": fleets, "stage": [connected, *stages]})
    return demands(scenario)[1:]


def stage(**actions: dict[str, object]) -> dict[str, object]:
    every = {name: {"fleet": "core2", **action} for name, action in actions.items()}
    return {"name": "x", "duration": "10s", **every}


@pytest.mark.parametrize(
    ("reconnect", "connects"),
    [
        ({"rate": "30/m"}, 0.5),
        ({"rate": "300/s"}, 300),
        ({"rate": "300/s", "arrivals": "poisson"}, 300),
        ({"rate": "300/s", "arrivals": "ramp", "from": "20/s"}, 300),
        ({"rate": "20/s", "arrivals": "ramp", "from": "300/s"}, 300),
        ({"rate": "20/s", "arrivals": "burst", "size": 300}, 300),
        ({"rate": "300/s", "arrivals": "burst", "size": 20}, 300),
        ({"rate": "100/s", "arrivals": "burst", "size": 99}, 198),  # two bursts begin within a second
        ({"within": "500ms"}, 20),
        ({"within": "10s", "share": 0.5}, 0.5),
    ],
    ids=str,
)
def test_connects_are_asked_for_at_the_highest_rate(reconnect: dict[str, object], connects: float) -> None:
    assert asked(stage(reconnect=reconnect)) == (Demand("x", connects, 0),)


def test_what_happens_at_the_same_time_adds_up() -> None:
    fleets = {"core2": REPORTING, "gateway": REPORTING | {"devices": 2}}
    both = stage(reconnect={"rate": "5/s"}, publish={"rate": "300/s"})
    both["connect"] = {"fleet": "gateway", "rate": "7/s"}
    assert asked(both, **fleets) == (Demand("x", 12, 321),)


def test_a_command_is_answered() -> None:
    obeying = SILENT | {"commands": {"topic": "c/{device}", "answer": "a/{device}"}}
    commands = stage(command={"rate": "5/s", "arrivals": "burst", "size": 30}, publish={"rate": "7/s"})
    fleet = obeying | {"telemetry": {"topic": "t", "every": "10s"}}
    assert asked(commands, core2=fleet) == (Demand("x", 0, 68),)


def test_each_stage_asks_for_itself() -> None:
    busy = stage(publish={"rate": "5/s", "arrivals": "burst", "size": 90})
    calm = stage(disconnect={"within": "1s"}) | {"name": "y"}
    assert asked(busy, calm, core2=REPORTING) == (Demand("x", 0, 110), Demand("y", 0, 20))
