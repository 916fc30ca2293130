from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.scenario.template import check_placeholders, fill, placeholders


def test_fills_what_is_named_and_keeps_all_other_braces() -> None:
    template = '{"device": "{device}", "n": {counter}, "other": {}, "x": {unknown}}'
    filled = fill(template, {"device": "core2-00001", "counter": 7})
    assert filled == '{"device": "core2-00001", "n": 7, "other": {}, "x": {unknown}}'


def test_finds_the_names_in_braces() -> None:
    assert placeholders("a/{device}/{fleet}/{device}/{ no }") == {"device", "fleet"}


def test_a_value_is_not_filled_in_twice() -> None:
    assert fill("{device}", {"device": "{fleet}", "fleet": "core2"}) == "{fleet}"


@pytest.mark.parametrize(
    ("template", "phrase"),
    [
        ("{devise}", 'expected {device} or {fleet} in braces, not {devise}; did you mean "device"?'),
        ("{zone}", "expected {device} or {fleet} in braces, not {zone}"),
        ("all", 'expected text with {device} in it, not "all"'),
    ],
)
def test_refuses_names_that_nothing_fills_and_texts_that_lack_one(template: str, phrase: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(phrase)}$"):
        check_placeholders(template, ("device", "fleet"), needed=("device",))


@given(st.text(alphabet="a{}/ "))
def test_text_without_names_stays_as_it_is(text: str) -> None:
    assert fill(text, {"device": "x"}) == text
