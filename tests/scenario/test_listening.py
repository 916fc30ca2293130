from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from simulator.scenario.listening import commanded, filters, observed
from simulator.scenario.model import Scenario

TELEMETRY = {"topic": "t/{fleet}/{device}", "every": "1s", "qos": 0}
COMMANDS = {"topic": "c/{device}", "answer": "a/{device}", "qos": 2}


def scenario(*, observe: object = None, stage: dict[str, Any] | None = None, **fleets: Any) -> Scenario:
    stages = [{"name": name, "connect": {"fleet": name, "rate": "1/s"}, "duration": "9s"} for name in fleets]
    stages.append({"name": "last", "duration": "1s", **(stage or {})})
    named = {name: {"devices": 1, **fleet} for name, fleet in fleets.items()}
    document: dict[str, Any] = {"title": "x", "fleet": named, "stage": stages}
    return Scenario.model_validate(document if observe is None else document | {"observe": observe})


def heard(made: Scenario) -> dict[str, int]:
    return filters(made.observe, made.fleets, made.stages)


def test_nobody_listens_unless_asked_to() -> None:
    made = scenario(a={"telemetry": TELEMETRY, "commands": COMMANDS})
    assert heard(made) == {}
    assert observed(made.observe, made.fleets) == []


def test_all_fleets_with_telemetry_are_observed_unless_some_are_named() -> None:
    fleets = {"a": {"telemetry": TELEMETRY}, "b": {"telemetry": TELEMETRY}, "c": {}}
    assert observed((made := scenario(observe={}, **fleets)).observe, made.fleets) == ["a", "b"]
    assert heard(made) == {"t/a/+": 0, "t/b/+": 0}
    assert heard(scenario(observe={"fleets": ["b"]}, **fleets)) == {"t/b/+": 0}


@pytest.mark.parametrize(
    ("observe", "publish", "qos"),
    [
        ({}, {}, 1),
        ({}, {"qos": 2}, 2),
        ({}, {"qos": 0}, 1),
        ({"qos": 0}, {"qos": 2}, 0),
    ],
)
def test_the_highest_quality_of_service_is_asked_for(
    observe: object, publish: dict[str, Any], qos: int
) -> None:
    stage = {"publish": {"fleet": "a", "rate": "1/s", **publish}}
    assert heard(scenario(observe=observe, stage=stage, a={"telemetry": TELEMETRY | {"qos": 1}})) == {
        "t/a/+": qos
    }


def test_topics_of_ones_own_take_the_place_of_the_fleets() -> None:
    made = scenario(observe={"topics": ["x/#", "y"]}, a={"telemetry": TELEMETRY | {"qos": 1}})
    assert heard(made) == {"x/#": 1, "y": 1}


def test_answers_are_heard_where_commands_are_sent() -> None:
    fleets = {"a": {"commands": COMMANDS}, "b": {"commands": COMMANDS | {"answer": "b/{device}"}}}
    made = scenario(stage={"command": {"fleet": "a", "rate": "1/s"}}, **fleets)
    assert commanded(made.fleets, made.stages) == ["a"]
    assert heard(made) == {"a/+": 2}


def test_answers_that_another_fleets_filter_hears_too_are_a_mistake_of_the_fleet() -> None:
    fleets = {"a": {"commands": COMMANDS}, "b": {"commands": COMMANDS | {"answer": "{device}/b"}}}
    both = {"name": "more", "duration": "1s", "command": {"fleet": "b", "rate": "1/s"}}
    made = scenario(stage={"command": {"fleet": "a", "rate": "1/s"}}, **fleets)
    document = made.model_dump(mode="json", by_alias=True, exclude_unset=True)
    document["stage"].append(both)
    with pytest.raises(ValidationError) as caught:
        Scenario.model_validate(document)
    (mistake,) = caught.value.errors()
    assert mistake["loc"] == ("fleet",)
    assert mistake["msg"].startswith('"a/+" and "+/b" overlap')


def test_two_fleets_on_one_topic_are_one_subscription_of_the_higher_quality() -> None:
    same = {"topic": "all", "every": "1s"}
    fleets = {"a": {"telemetry": same | {"qos": 0}}, "b": {"telemetry": same | {"qos": 2}}}
    assert heard(scenario(observe={}, **fleets)) == {"all": 2}
