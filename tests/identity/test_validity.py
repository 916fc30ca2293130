from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator import clock
from simulator.errors import FleetError
from simulator.identity.validity import CLOCK_ALLOWANCE, period

MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds the zone
VALIDITIES = st.timedeltas(timedelta(seconds=1), timedelta(days=40_000))


@given(MOMENTS, VALIDITIES)
def test_it_lasts_as_long_as_asked_and_less_than_a_second_more(now: datetime, validity: timedelta) -> None:
    _, not_after = period(validity, now=now)
    assert validity <= not_after - now < validity + timedelta(seconds=1)


@given(MOMENTS, VALIDITIES)
def test_it_starts_a_little_in_the_past(now: datetime, validity: timedelta) -> None:
    not_before, _ = period(validity, now=now)
    early = now - not_before
    assert min(CLOCK_ALLOWANCE, validity / 10) <= early
    assert early < min(CLOCK_ALLOWANCE, validity / 10) + timedelta(seconds=1)


@given(MOMENTS, VALIDITIES)
def test_both_ends_are_whole_seconds_as_x509_counts(now: datetime, validity: timedelta) -> None:
    assert all(end.microsecond == 0 for end in period(validity, now=now))


def test_without_a_moment_it_starts_now() -> None:
    before = clock.wall()
    not_before, not_after = period(timedelta(seconds=3))
    assert not_before < before
    assert before + timedelta(seconds=3) <= not_after <= clock.wall() + timedelta(seconds=4)


def test_a_given_start_is_taken_as_it_is_in_any_zone() -> None:
    start = datetime(2030, 1, 1, 12, 0, 0, tzinfo=timezone(timedelta(hours=2)))
    assert period(timedelta(hours=1), not_before=start) == (
        datetime(2030, 1, 1, 10, 0, 0, tzinfo=UTC),
        datetime(2030, 1, 1, 11, 0, 0, tzinfo=UTC),
    )


def test_less_than_a_second_cannot_be_stated() -> None:
    with pytest.raises(FleetError, match=r"one second at least, not 0\.25 s"):
        period(timedelta(milliseconds=250))


def test_the_year_ten_thousand_cannot_be_stated() -> None:
    with pytest.raises(FleetError, match="9999"):
        period(timedelta(days=3_650_000))
