from __future__ import annotations

import gc
import math
import pickle
import time

import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given
from hypothesis import strategies as st

from simulator.metrics.histogram import LIMIT, Histogram

PERCENTS = (50.0, 90.0, 99.0, 99.9, 100.0)

# As many short as long durations: microseconds from one to beyond an hour.
durations = st.integers(0, 32).flatmap(lambda bits: st.integers(0, 1 << bits)).filter(lambda v: v < LIMIT)
batches = st.lists(durations, min_size=1, max_size=300)


def histogram_of(values: list[int]) -> Histogram:
    histogram = Histogram()
    histogram.record_many(values)
    return histogram


def contents(histogram: Histogram) -> tuple[object, ...]:
    return list(histogram.buckets()), histogram.max, histogram.count


@given(batches)
def test_percentiles_are_those_of_the_sorted_values_within_a_thousandth(values: list[int]) -> None:
    histogram = histogram_of(values)
    ordered = sorted(values)
    for percent in PERCENTS:
        rank = math.ceil(round(percent * 10) * len(ordered) / 1000)
        exact = ordered[rank - 1]
        assert exact <= histogram.percentile(percent) <= exact * 1.001


@given(batches)
def test_maximum_and_count_are_exact(values: list[int]) -> None:
    histogram = histogram_of(values)
    assert histogram.max == max(values)
    assert histogram.count == len(values)
    assert histogram.overflow == 0


@given(batches)
def test_minimum_and_mean_are_within_a_thousandth(values: list[int]) -> None:
    histogram = histogram_of(values)
    assert min(values) * 0.999 <= histogram.min <= min(values)
    assert histogram.mean == pytest.approx(sum(values) / len(values), rel=0.001)


@given(batches)
def test_buckets_are_those_of_the_library(values: list[int]) -> None:
    library = HdrHistogram(1, 3_600_000_000, 3)
    for value in values:
        assert library.record_value(value)
    for low, high, count in histogram_of(values).buckets():
        assert library.get_lowest_equivalent_value(high) == low
        assert library.get_highest_equivalent_value(low) == high
        assert library.get_count_at_value(low) == count


@given(batches)
def test_encoding_and_decoding_change_nothing(values: list[int]) -> None:
    histogram = histogram_of(values)
    assert contents(Histogram.decode(histogram.encode(), exact_max=histogram.max)) == contents(histogram)


def test_encodings_do_not_leak_into_each_other() -> None:
    first = histogram_of([1, 1_000_000]).encode()
    assert histogram_of([5]).encode() != first
    assert histogram_of([1, 1_000_000]).encode() == first


def test_encoding_leaves_little_to_the_collector() -> None:
    gc.collect()
    gc.disable()
    try:
        before = len(gc.get_objects())
        for greatest in range(3_000, 100_000, 997):
            histogram_of([greatest]).encode()
        assert len(gc.get_objects()) - before < 100
    finally:
        gc.enable()


@given(batches)
def test_decoding_without_the_exact_maximum_rounds_it_up_to_its_bucket(values: list[int]) -> None:
    histogram = histogram_of(values)
    assert histogram.max <= Histogram.decode(histogram.encode()).max <= histogram.max * 1.001


@given(batches)
def test_the_library_reads_what_we_encode(values: list[int]) -> None:
    histogram = histogram_of(values)
    library = HdrHistogram.decode(histogram.encode())
    assert library.get_total_count() == len(values)
    assert min(library.get_max_value(), histogram.max) == histogram.max


@given(batches, batches)
def test_adding_equals_recording_all_in_one(left: list[int], right: list[int]) -> None:
    sum_of_both = histogram_of(left)
    sum_of_both.add(histogram_of(right))
    assert contents(sum_of_both) == contents(histogram_of(left + right))


@given(batches)
def test_a_pickled_histogram_is_the_same(values: list[int]) -> None:
    histogram = histogram_of(values)
    assert contents(pickle.loads(pickle.dumps(histogram))) == contents(histogram)


def test_values_beyond_the_limit_are_clamped_and_counted() -> None:
    histogram = histogram_of([5, LIMIT - 1, LIMIT, LIMIT + 1, 10**15])
    assert histogram.count == 5
    assert histogram.overflow == 3
    assert histogram.max == LIMIT


def test_negative_values_count_as_zero() -> None:
    histogram = histogram_of([-7, -1])
    assert (histogram.count, histogram.min, histogram.max) == (2, 0, 0)


def test_overflow_survives_the_file_format() -> None:
    assert Histogram.decode(histogram_of([1, LIMIT + 9]).encode()).overflow == 1


def test_an_empty_histogram_is_zero_throughout() -> None:
    histogram = histogram_of([])
    assert (histogram.count, histogram.min, histogram.max, histogram.mean, histogram.overflow) == (0,) * 5
    assert histogram.percentile(99) == 0
    assert Histogram.decode(histogram.encode()).count == 0


def test_it_shows_what_it_holds() -> None:
    assert repr(histogram_of([1, 2_500])) == "<Histogram of 2 values up to 2500 µs>"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("not base64!", id="no base64"),
        pytest.param("aGVsbG8=", id="too short"),
        pytest.param("aGVsbG8gd29ybGQsIGhlbGxv", id="another cookie"),
        pytest.param(histogram_of([1, 2, 3]).encode()[:-8], id="cut off"),
    ],
)
def test_damage_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match="not a histogram"):
        Histogram.decode(text)


def test_another_precision_is_refused() -> None:
    with pytest.raises(ValueError, match="another range or precision"):
        Histogram.decode(str(HdrHistogram(1, 3_600_000_000, 2).encode(), "ascii"))


@pytest.mark.timekeeping
def test_recording_a_batch_costs_less_than_the_library_by_far() -> None:
    values = [250 + (index * 7919) % 4_000 for index in range(5_000)]
    library = HdrHistogram(1, 3_600_000_000, 3)

    def cost(record: object) -> int:
        begun = time.process_time_ns()
        assert callable(record)
        record()
        return time.process_time_ns() - begun

    ours = min(cost(lambda: histogram_of(values)) for _ in range(5))
    theirs = min(cost(lambda: [library.record_value(value) for value in values]) for _ in range(5))
    assert ours * 3 < theirs
