from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.clock import MILLISECOND, SECOND
from simulator.scenario.units import (
    format_duration,
    format_rate,
    parse_duration,
    parse_rate,
    parse_share,
    parse_size,
)


def exactly(phrase: str) -> str:
    return f"^{re.escape(phrase)}$"


MINUTE, HOUR, DAY = 60 * SECOND, 3_600 * SECOND, 86_400 * SECOND


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("15s", 15 * SECOND),
        ("250ms", 250 * MILLISECOND),
        ("2m", 2 * MINUTE),
        ("1h", HOUR),
        ("365d", 365 * DAY),
        ("1h30m", HOUR + 30 * MINUTE),
        ("1m500ms", MINUTE + 500 * MILLISECOND),
        ("0.1s", 100 * MILLISECOND),
        ("1.5us", 1_500),
        ("7ns", 7),
        ("0s", 0),
        (0, 0),
    ],
)
def test_reads_durations(text: object, nanoseconds: int) -> None:
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize(
    ("value", "ending"),
    [
        ("15 sek", 'not "15 sek"; did you mean "15s"?'),
        ("1 sec", 'not "1 sec"; did you mean "1s"?'),
        ("2 Minutes", 'not "2 Minutes"; did you mean "2m"?'),
        ("1h 30min", 'not "1h 30min"; did you mean "1h30m"?'),
        ("0,5s", 'not "0,5s"; did you mean "0.5s"?'),
        ("30m1h", 'not "30m1h"'),
        (15, 'not 15; did you mean "15s" or "15ms"?'),
        (1.5, 'not 1.5; did you mean "1.5s" or "1.5ms"?'),
        ("15", 'not "15"; did you mean "15s" or "15ms"?'),
        ("5 fortnights", 'not "5 fortnights"'),
        ("-3s", 'not "-3s"'),
        ("", 'not ""'),
        ("٣s", 'not "٣s"'),
        (True, "not true"),
        (False, "not false"),
        ([], "not a list"),
        ({}, "not a table"),
    ],
)
def test_refuses_other_durations(value: object, ending: str) -> None:
    with pytest.raises(ValueError, match=exactly(f'expected a duration such as "15s" or "250ms", {ending}')):
        parse_duration(value)


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0s"),
        (15 * SECOND, "15s"),
        (5_400 * SECOND, "1h30m"),
        (1_000_000_001, "1s1ns"),
        (400 * DAY, "400d"),
    ],
)
def test_writes_durations(nanoseconds: int, text: str) -> None:
    assert format_duration(nanoseconds) == text


@given(st.integers(0, 10**19))
def test_durations_survive_the_round_trip(nanoseconds: int) -> None:
    assert parse_duration(format_duration(nanoseconds)) == nanoseconds


@pytest.mark.parametrize(
    ("text", "per_second"),
    [("100/s", 100.0), ("6000/m", 100.0), ("0.5/s", 0.5), ("1/h", 1 / 3_600), ("0/s", 0.0)],
)
def test_reads_rates(text: str, per_second: float) -> None:
    assert parse_rate(text) == pytest.approx(per_second, rel=1e-15)


@pytest.mark.parametrize(
    ("value", "ending"),
    [
        ("100/sec", 'not "100/sec"; did you mean "100/s"?'),
        ("100 per second", 'not "100 per second"; did you mean "100/s"?'),
        ("100/min", 'not "100/min"; did you mean "100/m"?'),
        ("50 Hz", 'not "50 Hz"; did you mean "50/s"?'),
        ("100", 'not "100"; did you mean "100/s"?'),
        (100, 'not 100; did you mean "100/s"?'),
        ("100/day", 'not "100/day"'),
        ("-1/s", 'not "-1/s"'),
        ("fast", 'not "fast"'),
        (True, "not true"),
    ],
)
def test_refuses_other_rates(value: object, ending: str) -> None:
    with pytest.raises(ValueError, match=exactly(f'expected a rate such as "100/s" or "6000/m", {ending}')):
        parse_rate(value)


@pytest.mark.parametrize(
    ("per_second", "text"),
    [
        (100.0, "100/s"),
        (100_000.0, "100000/s"),
        (2.5, "2.5/s"),
        (0.5, "30/m"),
        (1 / 3_600, "1/h"),
        (0.0, "0/s"),
    ],
)
def test_writes_rates(per_second: float, text: str) -> None:
    assert format_rate(per_second) == text


@given(st.floats(1e-6, 1e9))
def test_rates_survive_the_round_trip_to_eleven_digits(per_second: float) -> None:
    assert parse_rate(format_rate(per_second)) == pytest.approx(per_second, rel=1e-11)


@pytest.mark.parametrize(
    ("value", "share"), [(0.5, 0.5), ("50%", 0.5), (1, 1.0), (0, 0.0), ("0.1%", 0.001), ("100%", 1.0)]
)
def test_reads_shares(value: object, share: float) -> None:
    assert parse_share(value) == share


@pytest.mark.parametrize(
    ("value", "ending"),
    [
        (50, 'not 50; did you mean "50%"?'),
        ("0.5", 'not "0.5"; did you mean "50%"?'),
        ("50 percent", 'not "50 percent"; did you mean "50%"?'),
        ("120%", 'not "120%"'),
        (-0.5, "not -0.5"),
        ("half", 'not "half"'),
        (True, "not true"),
    ],
)
def test_refuses_other_shares(value: object, ending: str) -> None:
    with pytest.raises(
        ValueError,
        match=exactly(f'expected a share between 0 and 1, or a percentage such as "50%", {ending}'),
    ):
        parse_share(value)


@pytest.mark.parametrize(
    ("value", "size"), [(256, 256), ("256B", 256), ("4KiB", 4_096), ("1MiB", 1_048_576), (0, 0)]
)
def test_reads_sizes(value: object, size: int) -> None:
    assert parse_size(value) == size


@pytest.mark.parametrize(
    ("value", "ending"),
    [
        ("4 kB", 'not "4 kB"; did you mean "4KiB"?'),
        ("256 bytes", 'not "256 bytes"; did you mean "256B"?'),
        ("256", 'not "256"; did you mean "256B"?'),
        ("256s", 'not "256s"'),
        ("large", 'not "large"'),
        (-1, "not -1"),
        (1.5, "not 1.5"),
        (True, "not true"),
    ],
)
def test_refuses_other_sizes(value: object, ending: str) -> None:
    with pytest.raises(ValueError, match=exactly(f'expected a size such as "256B" or "4KiB", {ending}')):
        parse_size(value)


ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.from_regex(r"\A[0-9]{1,3}(\.[0-9])? ?[a-z%/µ]{0,4}\Z"),
    st.lists(st.integers()),
)


@given(ANYTHING)
def test_whatever_is_read_is_within_bounds_or_refused_with_a_phrase(value: object) -> None:
    for parse in (parse_duration, parse_rate, parse_share, parse_size):
        refused = ""
        try:
            assert parse(value) >= 0
        except ValueError as error:
            refused = str(error)
        assert refused == "" or refused.startswith("expected a ")
