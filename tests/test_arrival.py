"""Arrival processes against what they promise: number, order, average and repeatability."""

from __future__ import annotations

from itertools import islice, pairwise, takewhile
from random import Random
from statistics import mean, pstdev
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.arrival import arrivals, burst, constant, poisson, ramp
from simulator.clock import SECOND
from simulator.scenario.kinds import ArrivalKind

if TYPE_CHECKING:
    from collections.abc import Iterator

rates = st.floats(min_value=0.01, max_value=100_000)


def until(process: Iterator[int], end: int) -> list[int]:
    return list(takewhile(lambda due: due < end, process))


def test_constant_starts_at_once_and_keeps_its_distance() -> None:
    assert list(islice(constant(4), 5)) == [0, SECOND // 4, SECOND // 2, 3 * SECOND // 4, SECOND]


@given(rate=rates)
def test_constant_does_not_drift(rate: float) -> None:
    due = next(islice(constant(rate), 1000, None))
    assert due == pytest.approx(1000 * SECOND / rate, abs=1)


@pytest.mark.parametrize(
    ("start", "end"),
    [(0.0, 100.0), (10.0, 100.0), (100.0, 10.0), (50.0, 50.0), (100.0, 0.0)],
    ids=["from nothing", "up", "down", "level", "to nothing"],
)
def test_ramp_has_the_area_under_its_line(start: float, end: float) -> None:
    dues = until(ramp(start, end, 10 * SECOND), 10 * SECOND)
    assert len(dues) == pytest.approx((start + end) / 2 * 10, abs=1)
    half = sum(due < 5 * SECOND for due in dues)
    assert half == pytest.approx((start + (start + end) / 2) / 2 * 5, abs=1)


def test_ramp_goes_on_at_its_last_rate() -> None:
    dues = until(ramp(0, 100, 10 * SECOND), 12 * SECOND)
    after = [due for due in dues if due >= 10 * SECOND]
    assert len(after) == 200


def test_ramp_to_nothing_ends() -> None:
    assert len(list(ramp(100, 0, 10 * SECOND))) == 500


@given(start=st.floats(0, 1000), end=st.floats(0.1, 1000), seconds=st.integers(1, 100))
def test_ramp_is_in_order(start: float, end: float, seconds: int) -> None:
    dues = list(islice(ramp(start, end, seconds * SECOND), 500))
    assert all(before <= after for before, after in pairwise(dues))


def test_poisson_gaps_are_exponential() -> None:
    dues = list(islice(poisson(200, Random(7)), 20_000))
    gaps = [after - before for before, after in pairwise(dues)]
    assert mean(gaps) == pytest.approx(SECOND / 200, rel=0.03)
    assert pstdev(gaps) == pytest.approx(mean(gaps), rel=0.03), (
        "of an exponential, deviation and mean are one"
    )


def test_poisson_repeats_with_its_seed() -> None:
    first, again, other = (list(islice(poisson(10, Random(seed)), 50)) for seed in (1, 1, 2))
    assert first == again != other


def test_burst_comes_at_once_and_then_pauses() -> None:
    assert list(islice(burst(10, 5), 11)) == [0] * 5 + [SECOND // 2] * 5 + [SECOND]


@pytest.mark.parametrize("kind", ArrivalKind)
def test_every_kind_keeps_its_average_rate(kind: ArrivalKind) -> None:
    process = arrivals(kind, 100, Random(3), start=100, over=60 * SECOND, size=20)
    assert len(until(process, 60 * SECOND)) == pytest.approx(6000, rel=0.05)


@pytest.mark.parametrize("kind", ArrivalKind)
@given(wanted=st.sets(st.integers(0, 400), min_size=1))
def test_those_that_are_asked_for_are_those_of_the_whole(kind: ArrivalKind, wanted: set[int]) -> None:
    numbers = sorted(wanted)
    whole = list(islice(arrivals(kind, 100, Random(3), start=10, over=2 * SECOND, size=7), 401))
    some = arrivals(kind, 100, Random(3), start=10, over=2 * SECOND, size=7, numbers=numbers)
    assert list(some) == [whole[number] for number in numbers]
