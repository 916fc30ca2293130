from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from simulator.metrics.delivery import DeliveryCounts, DeliveryKey
from simulator.metrics.histogram import Histogram
from simulator.metrics.sample import Kind, Phase
from simulator.metrics.snapshot import (
    ArrivalCounts,
    ArrivalKey,
    ArrivalOf,
    ResumptionCounts,
    SeriesInterval,
    SeriesKey,
    Snapshot,
    Totals,
)

if TYPE_CHECKING:
    from collections.abc import Mapping


def interval(outcomes: Mapping[str, int], response: list[int] | None = None) -> SeriesInterval:
    measured = SeriesInterval(Counter(outcomes))
    measured.response.record_many(response or [])
    return measured


def snapshot(
    series: Mapping[SeriesKey, SeriesInterval] | None = None,
    arrivals: Mapping[ArrivalKey, ArrivalCounts] | None = None,
    devices: Mapping[str, Mapping[str, int]] | None = None,
    shard: int = 0,
) -> Snapshot:
    return Snapshot(shard, "", 0, 1, series or {}, arrivals or {}, devices or {}, cpu=0, rss=0)


def totals_of(*snapshots: Snapshot) -> Totals:
    totals = Totals()
    for each in snapshots:
        totals.add(each)
    return totals


def test_what_is_heard_is_no_step_by_itself_for_its_message_is_one() -> None:
    totals = totals_of(
        snapshot(
            {
                PUBLISH: interval({"ok": 4, "timeout": 1}),
                SeriesKey("core2", Phase.DELIVER): interval({"ok": 4}),
                SeriesKey("core2", Phase.COMMAND): interval({"ok": 2}),
                SeriesKey("core2", Phase.COMMAND_ANSWER): interval({"ok": 2}),
            }
        )
    )
    assert (totals.attempts(), totals.failures()) == (7, 1)
    assert totals.attempts(phase=Phase.DELIVER) == 4


def test_deliveries_are_added_by_fleet_way_and_quality_of_service() -> None:
    keys = [
        DeliveryKey("core2", Phase.COMMAND, 0),
        DeliveryKey("core2", Phase.DELIVER, 1),
        DeliveryKey("core2", Phase.DELIVER, 0),
        DeliveryKey("a", Phase.DELIVER, 0),
    ]
    one = Snapshot(
        -1, "", 0, 1, {}, {}, {}, cpu=0, rss=0, deliveries={key: DeliveryCounts(sent=1) for key in keys}
    )
    totals = totals_of(one, one, snapshot())
    assert totals.deliveries() == DeliveryCounts(sent=8)
    assert totals.deliveries(fleet="core2", phase=Phase.DELIVER) == DeliveryCounts(sent=4)
    assert totals.deliveries(qos=1) == DeliveryCounts(sent=2)
    assert totals.delivery_keys == [keys[3], keys[2], keys[1], keys[0]]


PUBLISH = SeriesKey("core2", Phase.PUBLISH)


@given(st.lists(st.lists(st.integers(0, 10_000_000), max_size=50), max_size=8))
def test_percentiles_over_snapshots_are_those_of_all_values_together(batches: list[list[int]]) -> None:
    totals = totals_of(*(snapshot({PUBLISH: interval({}, batch)}) for batch in batches))
    whole = Histogram()
    whole.record_many([value for batch in batches for value in batch])
    merged = totals.histogram(Kind.RESPONSE)
    assert list(merged.buckets()) == list(whole.buckets())
    assert merged.max == whole.max


def test_the_order_of_snapshots_does_not_matter() -> None:
    snapshots = [snapshot({PUBLISH: interval({"ok": n}, [n, n * 1000])}, shard=n) for n in range(1, 9)]
    shuffled = random.Random(1).sample(snapshots, len(snapshots))
    one, other = totals_of(*snapshots), totals_of(*shuffled)
    assert one.outcomes() == other.outcomes() == {"ok": 36}
    assert list(one.histogram(Kind.RESPONSE).buckets()) == list(other.histogram(Kind.RESPONSE).buckets())


def test_adding_a_snapshot_leaves_it_as_it_was() -> None:
    taken = snapshot(
        {PUBLISH: interval({"ok": 1}, [5])}, {ArrivalKey("core2", ArrivalOf.MESSAGE): ArrivalCounts(1)}
    )
    totals_of(taken, taken)
    assert taken.series[PUBLISH].outcomes == {"ok": 1}
    assert taken.series[PUBLISH].response.count == 1
    assert taken.arrivals[ArrivalKey("core2", ArrivalOf.MESSAGE)].due == 1


def test_figures_can_be_narrowed_to_a_fleet_and_a_phase() -> None:
    totals = totals_of(
        snapshot(
            {
                PUBLISH: interval({"ok": 2}, [10, 20]),
                SeriesKey("gateway", Phase.PUBLISH): interval({"ok": 1}, [30]),
                SeriesKey("core2", Phase.SUBSCRIBE): interval({"ok": 1}, [40]),
            }
        )
    )
    assert totals.histogram(Kind.RESPONSE).count == 4
    assert totals.histogram(Kind.RESPONSE, fleet="core2").count == 3
    assert totals.histogram(Kind.RESPONSE, phase=Phase.PUBLISH).count == 3
    assert totals.histogram(Kind.RESPONSE, fleet="core2", phase=Phase.PUBLISH).max == 20
    assert totals.outcomes(fleet="gateway") == {"ok": 1}
    assert totals.histogram(Kind.SERVICE).count == 0


def test_steps_of_a_connect_count_once_over_all_phases() -> None:
    connect = {"ok": 9, "unknown_ca": 1}
    totals = totals_of(
        snapshot(
            {
                SeriesKey("core2", Phase.TCP_CONNECT): interval({"ok": 10}),
                SeriesKey("core2", Phase.TLS_HANDSHAKE): interval(connect),
                SeriesKey("core2", Phase.CONNECT): interval(connect),
            }
        )
    )
    assert (totals.failures(), totals.attempts()) == (1, 10)
    assert totals.attempts(phase=Phase.TCP_CONNECT) == 10


def test_lost_sessions_are_failures_out_of_the_connects_that_succeeded() -> None:
    totals = totals_of(
        snapshot(
            {
                SeriesKey("core2", Phase.CONNECT): interval({"ok": 8, "timeout": 2}),
                SeriesKey("core2", Phase.SESSION): interval({"connection_lost": 4}),
            }
        )
    )
    assert (totals.failures(phase=Phase.SESSION), totals.attempts(phase=Phase.SESSION)) == (4, 8)
    assert (totals.failures(), totals.attempts()) == (6, 10)


def test_arrivals_add_up_by_fleet_and_kind() -> None:
    connects, messages = ArrivalKey("core2", ArrivalOf.CONNECT), ArrivalKey("core2", ArrivalOf.MESSAGE)
    one = snapshot(arrivals={connects: ArrivalCounts(due=1), messages: ArrivalCounts(5, 3, 1, 1)})
    totals = totals_of(one, one)
    assert totals.arrivals() == ArrivalCounts(12, 6, 2, 2)
    assert totals.arrivals(of=ArrivalOf.CONNECT) == ArrivalCounts(due=2)
    assert totals.arrivals(fleet="gateway") == ArrivalCounts()


def test_resumptions_add_up_by_fleet() -> None:
    one = replace(snapshot(), resumptions={"core2": ResumptionCounts(3, 1, 18, 2)})
    totals = totals_of(one, snapshot(), one)
    assert totals.resumptions("core2") == ResumptionCounts(6, 2, 36, 4)
    assert totals.resumptions("gateway") is None
    assert one.resumptions == {"core2": ResumptionCounts(3, 1, 18, 2)}


def test_devices_are_those_of_the_last_snapshot_of_each_shard() -> None:
    totals = totals_of(
        snapshot(devices={"core2": {"idle": 5}}, shard=0),
        snapshot(devices={"core2": {"connected": 4, "idle": 1}}, shard=0),
        snapshot(devices={"core2": {"connected": 3}, "gateway": {"idle": 2}}, shard=1),
    )
    assert totals.devices == {"core2": {"connected": 7, "idle": 1}, "gateway": {"idle": 2}}


def test_fleets_and_phases_are_those_that_occurred() -> None:
    totals = totals_of(
        snapshot(
            {PUBLISH: interval({"ok": 1}), SeriesKey("core2", Phase.CONNECT): interval({"ok": 1})},
            {ArrivalKey("sensor", ArrivalOf.CONNECT): ArrivalCounts(1)},
            {"gateway": {"idle": 1}},
        )
    )
    assert totals.fleets == ["core2", "gateway", "sensor"]
    assert totals.phases("core2") == [Phase.CONNECT, Phase.PUBLISH]
    assert totals.phases("gateway") == []
