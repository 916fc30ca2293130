from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from simulator.metrics.delivery import DeliveryCounts, DeliveryKey
from simulator.metrics.sample import Phase
from simulator.metrics.snapshot import (
    ArrivalCounts,
    ArrivalKey,
    ArrivalOf,
    SeriesInterval,
    SeriesKey,
    Snapshot,
    Totals,
)
from simulator.metrics.threshold import Status, Unit, judge, parse

if TYPE_CHECKING:
    from collections.abc import Mapping

FLEETS = ("core2", "gateway")


def measured(
    outcomes: Mapping[str, int], response: list[int] | None = None, lag: list[int] | None = None
) -> SeriesInterval:
    """Return a series whose service times are half its response times; milliseconds in, microseconds kept."""
    series = SeriesInterval(Counter(outcomes))
    series.response.record_many([value * 1000 for value in response or []])
    series.service.record_many([value * 500 for value in response or []])
    series.lag.record_many([value * 1000 for value in lag or []])
    return series


@pytest.fixture(scope="module")
def totals() -> Totals:
    """One run: connects and publishes of core2, two lost sessions; gateway refused at the handshake."""
    whole = Totals()
    whole.add(
        Snapshot(
            shard=0,
            stage="steady",
            start=0,
            end=1,
            series={
                SeriesKey("core2", Phase.TCP_CONNECT): measured({"ok": 100}, [1] * 100, [2] * 99 + [30]),
                SeriesKey("core2", Phase.CONNECT): measured({"ok": 100}, [*range(1, 101)]),
                SeriesKey("core2", Phase.PUBLISH): measured({"ok": 998, "ack_timeout": 2}, [10] * 998, [1]),
                SeriesKey("core2", Phase.SESSION): measured({"connection_lost": 2}),
                SeriesKey("core2", Phase.TLS_RESUMPTION): measured({"ok": 15}, [3] * 15),
                SeriesKey("gateway", Phase.TLS_HANDSHAKE): measured({"unknown_ca": 5}),
                SeriesKey("gateway", Phase.CONNECT): measured({"unknown_ca": 5}),
            },
            arrivals={ArrivalKey("core2", ArrivalOf.MESSAGE): ArrivalCounts(2_000, 1_000, 20, 0)},
            devices={},
            cpu=0,
            rss=0,
            deliveries={
                DeliveryKey("core2", Phase.DELIVER, 0): DeliveryCounts(sent=100, delivered=97, lost=3),
                DeliveryKey("core2", Phase.DELIVER, 1): DeliveryCounts(
                    sent=100, delivered=98, unconfirmed=1, unobserved=1, duplicated=4
                ),
                DeliveryKey("core2", Phase.COMMAND, 1): DeliveryCounts(sent=50, delivered=50, reordered=5),
                DeliveryKey("gateway", Phase.DELIVER, 1): DeliveryCounts(sent=10, delivered=9),
            },
        )
    )
    return whole


DEVICES = {"core2": {"connected": 98, "backing_off": 2}, "gateway": {"idle": 5}}


@pytest.mark.parametrize(
    ("measure", "limit", "status", "figure", "sentence"),
    [
        ("connect.p50", "< 50.1ms", Status.MET, 50_000, "the median of 1 to 100 ms is the 50th value"),
        (
            "connect.p50",
            "< 50ms",
            Status.BROKEN,
            50_000,
            "less than is strict",
        ),
        ("connect.p90", "< 90.1ms", Status.MET, 90_000, "limits may have a fraction"),
        ("connect.p99", "< 1s", Status.MET, 99_000, "a limit may be in another unit"),
        ("connect.p99.9", "<= 100ms", Status.MET, 100_000, "the dot in p99.9 does not separate words"),
        ("connect.max", "== 100ms", Status.MET, 100_000, "the maximum is exact"),
        ("connect.mean", "> 50ms", Status.MET, 50_500, "a mean may be demanded to be high"),
        ("connect.count", ">= 100", Status.MET, 100, "count is of steps that succeeded"),
        ("gateway.connect.count", ">= 1", Status.BROKEN, 0, "none of many is a figure"),
        (
            "connect.response.p50",
            "< 50.1ms",
            Status.MET,
            50_000,
            "response is what is meant by default",
        ),
        ("connect.service.p50", "< 25.1ms", Status.MET, 25_000, "service is what the broker took"),
        ("core2.connect.p50", "< 50.1ms", Status.MET, 50_000, "a fleet can be named"),
        ("lag.p50", "<= 2ms", Status.MET, 2_000, "lag is over connects and messages"),
        ("core2.lag.max", "< 30ms", Status.BROKEN, 30_000, "lag of a fleet"),
        ("failures", "< 1%", Status.MET, 900 / 1105, "a connect that failed in the handshake failed once"),
        ("failures", "<= 9", Status.MET, 9, "a number counts them"),
        ("failures", "== 0", Status.BROKEN, 9, "none at all"),
        ("core2.failures", "<= 4", Status.MET, 4, "of a fleet: two acknowledgements, two sessions"),
        ("publish.failures", "<= 0.2%", Status.MET, 0.2, "a share is exact, so the limit itself is met"),
        ("publish.failures", "< 0.2%", Status.BROKEN, 0.2, "and is not less than itself"),
        ("gateway.tls_handshake.failures", "< 100%", Status.BROKEN, 100, "of a fleet's phase"),
        ("tls_handshake.failures", "<= 25%", Status.MET, 25, "of all handshakes, full or resumed"),
        ("tls_resumption.p50", "<= 3ms", Status.MET, 3_000, "resumed handshakes are timed apart"),
        ("core2.tls_handshake.count", ">= 1", Status.BROKEN, 0, "none was full, which is a figure"),
        ("session.failures", "<= 2%", Status.MET, 2, "sessions lost, of connects that succeeded"),
        ("dropped", "<= 1%", Status.MET, 1, "arrivals dropped, of those due"),
        ("core2.dropped", "< 20", Status.BROKEN, 20, "arrivals dropped of a fleet"),
        ("connected", ">= 90%", Status.MET, 9800 / 105, "devices connected at the end"),
        ("core2.connected", ">= 99%", Status.BROKEN, 98, "devices of a fleet"),
        ("gateway.connected", "== 0", Status.MET, 0, "none of some is a figure"),
        ("core2.lost", "< 2%", Status.MET, 1.2, "lost of what was sent, on all ways"),
        ("core2.deliver.lost", "<= 2", Status.BROKEN, 3, "lost on one way, of all qualities of service"),
        ("command.lost", "== 0", Status.MET, 0, "none of some is a figure"),
        (
            "deliver.duplicated",
            "== 0",
            Status.NO_DATA,
            None,
            "what is under way may still come",
        ),
        ("core2.duplicated", "== 4", Status.MET, 4, "doubled on all ways"),
        ("command.reordered", "<= 10%", Status.MET, 10, "out of order, of what was sent"),
        ("lost", "== 0", Status.NO_DATA, None, "one fleet that is not settled is enough"),
        ("command_answer.lost", "== 0", Status.NO_DATA, None, "nothing was sent that way"),
        ("subscribe.p99", "< 1s", Status.NO_DATA, None, "nothing subscribed"),
        ("subscribe.count", ">= 0", Status.NO_DATA, None, "not even an attempt"),
        ("subscribe.failures", "== 0", Status.NO_DATA, None, "no failure among no attempts is no pass"),
        ("gateway.connect.p99", "< 1s", Status.NO_DATA, None, "none succeeded, so none has a duration"),
        ("gateway.lag.p99", "< 1s", Status.NO_DATA, None, "no arrival of that fleet"),
        ("gateway.dropped", "== 0", Status.NO_DATA, None, "nothing was due"),
    ],
)
def test_verdicts(
    *, totals: Totals, measure: str, limit: str, status: Status, figure: float | None, sentence: str
) -> None:
    verdict = judge(parse(measure, limit, FLEETS), totals, DEVICES)
    assert verdict.status is status, sentence
    if figure is None:
        assert verdict.measured is None, sentence
    else:
        assert verdict.measured == pytest.approx(figure, rel=0.001), sentence


@pytest.mark.parametrize(
    ("measure", "limit"),
    [
        ("connect.p99", "> 0s"),
        ("lag.max", ">= 0s"),
        ("failures", ">= 0"),
        ("dropped", ">= 0%"),
        ("connected", ">= 0"),
        ("connect.count", ">= 0"),
        ("lost", "== 0"),
        ("deliver.duplicated", ">= 0%"),
        ("reordered", ">= 0"),
    ],
)
def test_a_run_without_data_meets_nothing(measure: str, limit: str) -> None:
    verdict = judge(parse(measure, limit), Totals(), {})
    assert (verdict.status, verdict.measured) == (Status.NO_DATA, None)


@pytest.mark.parametrize(
    ("measure", "limit", "phrase"),
    [
        ("tls_handshak.p99", "< 1s", 'not "tls_handshak.p99"; did you mean "tls_handshake.p99"?'),
        ("failure", "< 1%", 'not "failure"; did you mean "failures"?'),
        ("", "< 1", 'expected a measure such as "tls_handshake.p99", "failures" or "connected", not ""'),
        ("core2", "< 1", 'not "core2"'),
        ("cor2.failures", "< 1%", 'there is no fleet or phase "cor2"; did you mean "core2"?'),
        ("publish.lost", "== 0", 'or "failures", not "lost"'),
        ("losst", "== 0", 'did you mean "lost"?'),
        ("deliver.lost.p99", "< 1s", 'expected "response" or "service", not "lost"'),
        ("publish.p95", "< 1s", 'or "failures", not "p95"; did you mean "p99"?'),
        ("lag.p95", "< 1s", 'did you mean "p99"?'),
        ("publish.respons.p99", "< 1s", 'expected "response" or "service", not "respons"'),
        ("publish.lag.p99", "< 1s", 'there is no fleet "publish"'),
        ("publish", "< 1s", 'expected "publish.p99" or another statistic of it, not "publish"'),
        ("publish.p99.9.9", "< 1s", 'or another statistic of it, not "publish.p99.9.9"'),
        ("core2.publis.response.p99", "< 1s", 'did you mean "core2.publish.response.p99"?'),
        ("disconnect.failures", "== 0", 'there is no fleet or phase "disconnect"; did you mean "connect"?'),
        ("unsubscribe.p99", "< 1s", 'not "unsubscribe.p99"; did you mean "subscribe.p99"?'),
        ("session.p99", "< 1s", 'expected "session.failures", not "session.p99"'),
        ("failures.p99", "< 1s", "expected a measure"),
        (
            "tls_resumption.failures",
            "== 0",
            'a handshake that fails counts as a full one: expected "tls_hands',
        ),
        ("publish.p99", "1s", 'expected a limit such as "< 800ms", not "1s"'),
        ("publish.p99", "< 5", 'did you mean "5s" or "5ms"?'),
        ("publish.p99", "< 5%", "expected a duration"),
        ("publish.p99", "=< 5s", 'expected a limit such as "< 800ms"'),
        ("failures", 0, 'expected a limit such as "< 0.1%", not 0'),
        ("failures", "= 0", 'expected a limit such as "< 0.1%"'),
        ("failures", "< 1s", 'expected a limit such as "< 0.1%"'),
        ("failures", "< -1", 'expected a limit such as "< 0.1%"'),
        ("publish.count", ">= 5%", 'expected a limit such as ">= 500"'),
    ],
)
def test_mistakes_are_told_in_a_phrase(measure: str, limit: object, phrase: str) -> None:
    with pytest.raises(ValueError, match=r".") as raised:
        parse(measure, limit, FLEETS)
    assert phrase in str(raised.value)


@pytest.mark.parametrize("limit", ["<800ms", "< 800ms", " <  0.8s "])
def test_blanks_and_spelling_of_a_limit_do_not_matter(limit: str) -> None:
    threshold = parse("connect.p99", limit)
    assert threshold.value == 800_000
    assert threshold.unit is Unit.MICROSECONDS


def test_a_threshold_keeps_what_was_written() -> None:
    assert str(parse("publish.failures", "<0.10%")) == "publish.failures <0.10%"


def test_any_fleet_may_be_named_where_none_is_known() -> None:
    assert parse("somebody.publish.p99", "< 1s").of.fleet == "somebody"


@pytest.mark.parametrize(
    ("measure", "fleet", "phase"),
    [
        ("connect.p99", None, Phase.CONNECT),
        ("connect.connect.p99", "connect", Phase.CONNECT),
        ("connect.publish.p99", "connect", Phase.PUBLISH),
        ("connect.failures", None, Phase.CONNECT),
    ],
)
def test_a_fleet_named_like_a_phase_is_meant_only_where_a_phase_follows(
    measure: str, fleet: str | None, phase: Phase
) -> None:
    of = parse(measure, "< 1%" if measure.endswith("failures") else "< 1s", ("connect",)).of
    assert (of.fleet, of.phase) == (fleet, phase)
