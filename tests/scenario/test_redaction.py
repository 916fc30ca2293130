"""Passwords stay out of what is saved."""

from __future__ import annotations

import tomllib

import pytest

from simulator.scenario.redaction import without_passwords

TABLE = """
title = "t"   # a comment
[fleet.core2]
devices = 1
username = "u"
password = "secret"
"""


@pytest.mark.parametrize(
    "text",
    [
        TABLE,
        'title = "t"   # a comment\nfleet.core2 = { devices = 1, password = "secret" }\n',
        'title = "t"   # a comment\nfleet.core2.password = "secret"\n',
    ],
    ids=["table", "inline table", "dotted key"],
)
def test_a_password_is_kept_back_and_nothing_else(text: str) -> None:
    saved = without_passwords(text)
    assert "secret" not in saved
    assert "# a comment" in saved
    before, after = tomllib.loads(text), tomllib.loads(saved)
    del before["fleet"]["core2"]["password"], after["fleet"]["core2"]["password"]
    assert before == after


def test_a_scenario_without_password_is_saved_to_the_letter() -> None:
    text = TABLE.replace('password = "secret"\n', "")
    assert without_passwords(text) == text
