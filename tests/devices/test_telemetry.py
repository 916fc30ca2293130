"""Payloads: the three fields in each, plausible values, exact sizes, and the same for the same seed."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.devices.telemetry import core2, fixed, payload_of, template
from simulator.scenario.model import Telemetry

seeds = st.integers(0, 2**64 - 1)
counters = st.integers(1, 10**7)
dues = st.integers(0, 2**63)
DUE = 1_767_225_600_000_000_000


def model(payload: object) -> Telemetry:
    return Telemetry.model_validate({"topic": "fleet/{device}", "every": "1s", "payload": payload})


@given(seeds, counters, dues)
def test_core2_is_json_with_plausible_values(seed: int, counter: int, due: int) -> None:
    said = json.loads(core2("core2-00001", seed, counter, due))
    assert (said["device"], said["n"], said["due"]) == ("core2-00001", counter, due)
    x, y, z = (said["accelerometer"][axis] for axis in "xyz")
    assert abs(x) <= 0.025
    assert abs(y) <= 0.025
    assert 0.975 <= z <= 1.025, "at rest, gravity is all there is"
    assert 25 <= said["temperature"] <= 38
    assert 34 <= said["sound"] <= 71
    assert 5 <= said["battery"]["percent"] <= 100
    assert 3.3 <= said["battery"]["voltage"] <= 4.2


def test_core2_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    assert core2("a", 7, 3, DUE) == core2("a", 7, 3, DUE)
    assert core2("a", 7, 3, DUE) != core2("a", 8, 3, DUE)
    assert core2("a", 7, 3, DUE) != core2("a", 7, 4, DUE).replace(b'"n":4', b'"n":3')


def test_core2_lives() -> None:
    said: list[dict[str, Any]] = [json.loads(core2("a", 7, counter, DUE)) for counter in range(1, 3601)]
    temperatures = [each["temperature"] for each in said]
    assert max(temperatures) - min(temperatures) == pytest.approx(4, abs=0.2), "one swing an hour"
    assert all(abs(one - two) <= 0.1001 for one, two in pairwise(temperatures))
    assert said[0]["battery"]["percent"] - said[-1]["battery"]["percent"] == 6, "a percent in ten minutes"
    loud = sum(each["sound"] > 60 for each in said)
    assert 20 < loud < 100, "a loud moment now and then"
    assert len({each["accelerometer"]["x"] for each in said}) > 40


@given(st.integers(64, 2000), counters, dues)
def test_a_fixed_payload_is_exactly_as_long_as_it_says(size: int, counter: int, due: int) -> None:
    device = "core2-00001"
    payload = fixed(size)(device, 0, counter, due)
    said = json.loads(payload)
    assert (said["device"], said["n"], said["due"]) == (device, counter, due)
    head = len(f'{{"device":"{device}","n":{counter},"due":{due},"fill":""}}')
    assert len(payload) == max(size, head)


def test_a_fixed_payload_too_small_for_its_fields_has_them_all_the_same() -> None:
    said = json.loads(fixed(64)("d" * 100, 0, 1, DUE))
    assert said == {"device": "d" * 100, "n": 1, "due": DUE, "fill": ""}


def test_a_template_fills_its_placeholders_and_nothing_else() -> None:
    text = '{"id":"{device}","f":"{fleet}","n":{counter},"t":{due},"x":{}, "y":"{other}"}'
    made = template(text, "core2")("{counter}", 0, 5, 17)
    assert made == b'{"id":"{counter}","f":"core2","n":5,"t":17,"x":{}, "y":"{other}"}'


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ("core2", core2("d", 7, 2, DUE)),
        ({"size": "128B"}, fixed(128)("d", 7, 2, DUE)),
        ({"template": "{device} {counter} {due} {fleet}"}, f"d 2 {DUE} core2".encode()),
    ],
)
def test_the_scenario_chooses_the_model(payload: object, expected: bytes) -> None:
    assert payload_of(model(payload), "core2")("d", 7, 2, DUE) == expected
