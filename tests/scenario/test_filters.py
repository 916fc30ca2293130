from __future__ import annotations

import aiomqtt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.scenario.filters import everybodys, overlap

LEVELS = st.sampled_from(["a", "b", ""])
TOPICS = st.lists(LEVELS, min_size=1, max_size=4).map("/".join)


@st.composite
def filters(draw: st.DrawFn) -> str:
    levels = draw(st.lists(st.sampled_from(["a", "b", "", "+"]), max_size=3))
    if not levels or draw(st.booleans()):
        levels.append("#")
    return "/".join(levels) or "+"


@pytest.mark.parametrize(
    ("topic", "filter_"),
    [
        ("fleet/{device}/telemetry", "fleet/+/telemetry"),
        ("{fleet}/unit-{device}/t", "core2/+/t"),
        ("all/{fleet}", "all/core2"),
        ("{device}", "+"),
    ],
)
def test_the_filter_of_a_whole_fleet(topic: str, filter_: str) -> None:
    assert everybodys(topic, "core2") == filter_


@given(filters(), filters(), TOPICS)
def test_filters_that_match_one_topic_overlap(one: str, other: str, topic: str) -> None:
    if topic and aiomqtt.Topic(topic).matches(one) and aiomqtt.Topic(topic).matches(other):
        assert overlap(one, other)
        assert overlap(other, one)


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ("a/+", "a/b", True),
        ("a/+", "+/b", True),
        ("a/#", "a", True),
        ("a", "a/#", True),
        ("#", "x/y/z", True),
        ("a/+/c", "a/b/d", False),
        ("a/+", "a/b/c", False),
        ("a", "b", False),
        ("a/b", "a", False),
    ],
)
def test_filters_overlap_where_a_topic_can_match_both(one: str, other: str, both: bool) -> None:
    assert overlap(one, other) is both
