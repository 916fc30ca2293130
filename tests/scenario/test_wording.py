from __future__ import annotations

from datetime import date

import pytest

from simulator.scenario.wording import alternatives, at_least_one, did_you_mean, nearest, quote


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a", '"a"'),
        ("größer", '"größer"'),
        (True, "true"),
        (1.5, "1.5"),
        ([1], "a list"),
        ((1,), "a list"),
        ({"a": 1}, "a table"),
        (date(2024, 5, 1), "2024-05-01"),
    ],
)
def test_shows_values_as_toml_writes_them(value: object, shown: str) -> None:
    assert quote(value) == shown


def test_lists_alternatives() -> None:
    assert alternatives(["a"]) == '"a"'
    assert alternatives(["a", "b"]) == '"a" or "b"'
    assert alternatives([0, 1, 2]) == "0, 1 or 2"


@pytest.mark.parametrize(
    ("value", "word"),
    [
        ("devces", "devices"),
        ("DEVICES", "devices"),
        ("sub", "subscribe"),
        ("5", "5.0"),
        (5, "5.0"),
        ("", None),
        ("unlike", None),
    ],
)
def test_finds_the_word_that_was_meant(value: object, word: str | None) -> None:
    assert nearest(value, ["devices", "subscribe", "3.1.1", "5.0"]) == word


def test_asks_whether_a_word_was_meant_only_where_one_is_near() -> None:
    assert did_you_mean("embeded", ["embedded", "mosquitto"]) == '; did you mean "embedded"?'
    assert did_you_mean("hivemq", ["embedded", "mosquitto"]) == ""


def test_names_the_header_that_is_missing() -> None:
    assert at_least_one("fleet", dict) == "expected at least one [fleet.NAME]"
    assert at_least_one("stage", tuple) == "expected at least one [[stage]]"
