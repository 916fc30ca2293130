from __future__ import annotations

import pickle
import random
import time

import pytest

from simulator.clock import MICROSECOND, MILLISECOND, SECOND
from simulator.metrics.delivery import DeliveryCounts, DeliveryKey
from simulator.metrics.recorder import Recorder
from simulator.metrics.sample import CONNECT_STEPS, Failure, Kind, Phase
from simulator.metrics.snapshot import (
    ArrivalCounts,
    ArrivalKey,
    ArrivalOf,
    ResumptionCounts,
    SeriesKey,
    Snapshot,
    Totals,
)

ORIGIN = 5_000 * SECOND
DUE = ORIGIN + 14 * SECOND


@pytest.fixture
def failures() -> list[Failure]:
    return []


@pytest.fixture
def recorder(failures: list[Failure]) -> Recorder:
    return Recorder(shard=3, origin=ORIGIN, on_failure=failures.append)


def snapshot(recorder: Recorder, at: int = ORIGIN + SECOND) -> Snapshot:
    return recorder.snapshot(at, devices={"core2": {"connected": 1}}, cpu=7, rss=9)


def fail(recorder: Recorder, phase: Phase, outcome: str = "timeout") -> None:
    recorder.fail(
        "core2",
        "00042",
        phase,
        outcome,
        "it did not answer",
        due=DUE,
        started=DUE + 2 * MILLISECOND,
        finished=DUE + SECOND,
    )


def test_a_sample_becomes_response_service_and_lag(recorder: Recorder) -> None:
    recorder.series("core2", Phase.PUBLISH).ok.append(
        (DUE, DUE + 600 * MICROSECOND, DUE + 2_000 * MICROSECOND)
    )
    measured = snapshot(recorder).series[SeriesKey("core2", Phase.PUBLISH)]
    assert (measured.response.max, measured.service.max, measured.lag.max) == (2_000, 1_400, 600)
    assert measured.outcomes == {"ok": 1}


@pytest.mark.parametrize("phase", [Phase.TLS_HANDSHAKE, Phase.MQTT_CONNECT, Phase.CONNECT, Phase.DELIVER])
def test_only_the_first_step_after_an_arrival_has_lag(recorder: Recorder, phase: Phase) -> None:
    recorder.series("core2", phase).ok.append((DUE, DUE + 1, DUE + 2))
    assert snapshot(recorder).series[SeriesKey("core2", phase)].lag.count == 0


def test_the_list_of_samples_stays_the_same_object(recorder: Recorder) -> None:
    append = recorder.series("core2", Phase.PUBLISH).ok.append
    for _ in range(3):
        append((DUE, DUE, DUE + MILLISECOND))
        assert snapshot(recorder).series[SeriesKey("core2", Phase.PUBLISH)].outcomes == {"ok": 1}


def test_intervals_follow_each_other_from_the_start_of_the_run(recorder: Recorder) -> None:
    first, second = snapshot(recorder, ORIGIN + SECOND), snapshot(recorder, ORIGIN + 3 * SECOND)
    assert (first.start, first.end, second.start, second.end) == (0, SECOND, SECOND, 3 * SECOND)


def test_gauges_pass_through(recorder: Recorder) -> None:
    taken = snapshot(recorder)
    assert (taken.shard, taken.devices, taken.cpu, taken.rss) == (3, {"core2": {"connected": 1}}, 7, 9)


def test_an_interval_without_events_is_empty(recorder: Recorder) -> None:
    recorder.series("core2", Phase.PUBLISH)
    recorder.arrivals("core2", ArrivalOf.MESSAGE)
    taken = snapshot(recorder)
    assert (taken.series, taken.arrivals) == ({}, {})


def test_a_failure_is_told_at_once_in_time_of_the_run(recorder: Recorder, failures: list[Failure]) -> None:
    recorder.stage = "ramp"
    fail(recorder, Phase.SUBSCRIBE, "ack_timeout")
    assert failures == [
        Failure(
            at=15 * SECOND,
            fleet="core2",
            device="00042",
            stage="ramp",
            phase=Phase.SUBSCRIBE,
            outcome="ack_timeout",
            detail="it did not answer",
            due=14 * SECOND,
            started=14 * SECOND + 2 * MILLISECOND,
            finished=15 * SECOND,
        )
    ]


@pytest.mark.parametrize("step", sorted(CONNECT_STEPS))
def test_a_step_that_fails_fails_its_connect_once(
    recorder: Recorder, failures: list[Failure], step: Phase
) -> None:
    fail(recorder, step)
    totals = Totals()
    totals.add(snapshot(recorder))
    assert len(failures) == 1
    assert totals.failures(phase=step) == totals.failures(phase=Phase.CONNECT) == totals.failures() == 1


def test_what_was_cut_off_as_asked_is_counted_and_no_failure(
    recorder: Recorder, failures: list[Failure]
) -> None:
    fail(recorder, Phase.PUBLISH, "cut_off")
    assert snapshot(recorder).series[SeriesKey("core2", Phase.PUBLISH)].outcomes == {"cut_off": 1}
    assert failures == []


def test_a_failed_attempt_has_no_duration_but_was_late_like_any_other(recorder: Recorder) -> None:
    fail(recorder, Phase.TCP_CONNECT)
    measured = snapshot(recorder).series[SeriesKey("core2", Phase.TCP_CONNECT)]
    assert (measured.response.count, measured.service.count) == (0, 0)
    assert measured.lag.max == 2_000


def test_arrivals_are_counted_by_interval(recorder: Recorder) -> None:
    counter = recorder.arrivals("core2", ArrivalOf.MESSAGE)
    assert recorder.arrivals("core2", ArrivalOf.MESSAGE) is counter
    counter.due += 4
    counter.started += 1
    counter.dropped += 2
    counter.offline += 1
    key = ArrivalKey("core2", ArrivalOf.MESSAGE)
    assert snapshot(recorder).arrivals == {key: ArrivalCounts(4, 1, 2, 1)}
    counter.due += 1
    assert snapshot(recorder).arrivals == {key: ArrivalCounts(due=1)}


def test_resumptions_are_counted_by_interval_for_the_fleets_that_resume(recorder: Recorder) -> None:
    counts = recorder.resumptions("core2")
    assert recorder.resumptions("gateway") == ResumptionCounts()
    counts.count(again=False, offered=False, resumed=False, cpu=5)
    counts.count(again=True, offered=True, resumed=True, cpu=2)
    counts.count(again=True, offered=True, resumed=False, cpu=6)
    counts.count(again=True, offered=False, resumed=False, cpu=7)
    expected = ResumptionCounts(reconnects=3, refused=1, full_cpu=18, resumed_cpu=2)
    assert snapshot(recorder).resumptions == {"core2": expected}
    assert snapshot(recorder).resumptions == {}
    counts.count(again=True, offered=True, resumed=True, cpu=1)
    assert snapshot(recorder).resumptions == {"core2": ResumptionCounts(reconnects=1, resumed_cpu=1)}


def test_deliveries_are_counted_by_interval(recorder: Recorder) -> None:
    counter = recorder.deliveries("core2", Phase.DELIVER, 1)
    assert recorder.deliveries("core2", Phase.DELIVER, 1) is counter
    recorder.deliveries("core2", Phase.DELIVER, 2)
    counter.sent += 3
    counter.lost += 1
    key = DeliveryKey("core2", Phase.DELIVER, 1)
    assert snapshot(recorder).deliveries == {key: DeliveryCounts(sent=3, lost=1)}
    counter.delivered += 2
    assert snapshot(recorder).deliveries == {key: DeliveryCounts(delivered=2)}


def test_folding_in_between_changes_nothing() -> None:
    noise = random.Random(1)
    samples = [
        (DUE, DUE + noise.randrange(SECOND), DUE + SECOND + noise.randrange(SECOND)) for _ in range(500)
    ]
    at_once, bit_by_bit = (Recorder(shard=0, origin=ORIGIN, on_failure=print) for _ in range(2))
    for sample in samples:
        at_once.series("core2", Phase.PUBLISH).ok.append(sample)
        bit_by_bit.series("core2", Phase.PUBLISH).ok.append(sample)
        if noise.random() < 0.1:
            bit_by_bit.fold()
    one, other = (
        next(iter(snapshot(recorder).series.values())).histogram for recorder in (at_once, bit_by_bit)
    )
    for kind in Kind:
        assert list(one(kind).buckets()) == list(other(kind).buckets())


def test_a_snapshot_survives_the_way_to_another_process(recorder: Recorder) -> None:
    recorder.series("core2", Phase.PUBLISH).ok.append((DUE, DUE, DUE + MILLISECOND))
    fail(recorder, Phase.PUBLISH)
    taken = snapshot(recorder)
    there = pickle.loads(pickle.dumps(taken))
    assert (there.start, there.end, there.devices) == (taken.start, taken.end, taken.devices)
    key = SeriesKey("core2", Phase.PUBLISH)
    assert there.series[key].outcomes == taken.series[key].outcomes == {"ok": 1, "timeout": 1}
    assert list(there.series[key].response.buckets()) == list(taken.series[key].response.buckets())


@pytest.mark.timekeeping
def test_measuring_a_message_costs_a_fraction_of_sending_it(recorder: Recorder) -> None:
    noise = random.Random(1)
    samples = [(DUE, DUE + 300_000, DUE + noise.randrange(1_000_000, 3_000_000)) for _ in range(20_000)]
    append = recorder.series("core2", Phase.PUBLISH).ok.append

    def cost() -> float:
        begun = time.process_time_ns()
        for sample in samples:
            append(sample)
        snapshot(recorder)
        return (time.process_time_ns() - begun) / len(samples)

    assert min(cost() for _ in range(5)) < 3_000, "nanoseconds; a message costs 15,000"
