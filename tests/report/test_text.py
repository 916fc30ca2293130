from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from simulator.clock import MILLISECOND, SECOND
from simulator.metrics.outcome import Outcome
from simulator.metrics.sample import Phase
from simulator.metrics.threshold import Status
from simulator.report.conclusion import Conclusion
from simulator.report.figures import Example, FailureFigures, ResumptionFigures
from simulator.report.run import RunStatus
from simulator.report.summary import summarize
from simulator.report.text import FAILURES_SHOWN, render
from tests.report.example import DELIVERIES, HEARING, RUN, Play, play

if TYPE_CHECKING:
    from pathlib import Path

    from simulator.report.figures import Report


def text_of(report: Report, *, width: int = 80, colour: bool = False) -> str:
    file = io.StringIO()
    Console(file=file, width=width, force_terminal=colour, color_system="standard" if colour else None).print(
        render(report)
    )
    return file.getvalue()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return play(tmp_path_factory.mktemp("run")).close(RunStatus.COMPLETE)


def test_it_fits_80_columns(report: Report) -> None:
    assert max(map(len, text_of(report).splitlines())) <= 80


def test_in_a_pipe_it_has_no_colour(report: Report) -> None:
    assert "\x1b" not in text_of(report)
    assert "\x1b[" in text_of(report, colour=True)


def test_the_conclusion_comes_before_all_figures(report: Report) -> None:
    text = text_of(report)
    places = [
        text.index(words)
        for words in (
            RUN.title[:40],
            "Met. All 2",
            "Thresholds",
            "core2, ms",
            "Stages",
            "Failures",
            "Generator",
        )
    ]
    assert places == sorted(places)


def test_it_says_what_ran_against_what(report: Report) -> None:
    text = " ".join(text_of(report).split())
    assert "two-fleets, seed 7, 2026-01-02 03:04:05 UTC, 5.0 s" in text
    assert "20 core2, 5 gateway, against mosquitto 2.0.11, 127.0.0.1:8883" in text


def test_it_says_what_was_changed_after_the_title_was_written(report: Report, tmp_path: Path) -> None:
    assert "changed" not in text_of(report)
    changes = ("--broker embedded", "--set fleet.core2.devices=20")
    other = play(tmp_path, run=replace(RUN, changes=changes)).close(RunStatus.COMPLETE)
    assert "changed: --broker embedded --set fleet.core2.devices=20" in text_of(other)
    assert json.loads(other.to_json())["changes"] == list(changes)


def test_response_and_service_stand_below_each_other_in_milliseconds(report: Report) -> None:
    connect = next(each for each in report.fleets[0].phases if each.phase is Phase.CONNECT)
    assert connect.response is not None
    rows = text_of(report).splitlines()
    first = next(number for number, row in enumerate(rows) if row.startswith("connect "))
    phase, kind, count, p50 = rows[first].split()[:4]
    assert (phase, kind, count) == ("connect", "response", "20")
    assert float(p50) == pytest.approx(connect.response.p50 / 1000, rel=0.005)
    assert rows[first + 1].split()[0] == "service"


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        (
            ResumptionFigures(reconnects=700, resumed=612, refused=80, full_cpu=2_100, resumed_cpu=900),
            "612 of 700 reconnects resumed their TLS session: 0.90 ms of CPU instead of 2.10 ms, "
            "p50 1.40 ms instead of 3.00 ms; 80 offered one that the broker refused; 8 had none to offer.",
        ),
        (
            ResumptionFigures(reconnects=1_000, resumed=0, refused=1_000, full_cpu=2_100, resumed_cpu=None),
            "0 of 1,000 reconnects resumed their TLS session; 1,000 offered one that the broker refused.",
        ),
        (
            ResumptionFigures(reconnects=0, resumed=0, refused=0, full_cpu=2_100, resumed_cpu=None),
            "No device reconnected, so none resumed a TLS session.",
        ),
    ],
)
def test_what_resuming_tls_sessions_saved_is_a_sentence(
    report: Report, figures: ResumptionFigures, words: str
) -> None:
    core2 = report.fleets[0]
    example = next(each for each in core2.phases if each.service is not None)
    assert example.service is not None
    phases = [
        replace(example, phase=phase, service=replace(example.service, p50=p50))
        for phase, p50 in ((Phase.TLS_HANDSHAKE, 3_000), (Phase.TLS_RESUMPTION, 1_400))
    ]
    resuming = replace(core2, resumption=figures, phases=tuple(phases))
    text = " ".join(text_of(replace(report, fleets=(resuming,))).split())
    assert f" {words} core2, arrivals" in text
    assert "resumed" not in text_of(report)


def test_thresholds_show_measured_and_verdict(report: Report) -> None:
    assert re.search(r"core2\.connected +== 100% +100 % +met", text_of(report))


def test_other_verdicts_and_units(tmp_path: Path) -> None:
    thresholds = {"failures": "== 0", "subscribe.p99": "< 1s"}
    text = text_of(play(tmp_path, run=replace(RUN, thresholds=thresholds)).close(RunStatus.COMPLETE))
    assert re.search(r"failures +== 0 +2 +broken", text)
    assert re.search(r"subscribe\.p99 +< 1s +- +no data", text)


def test_failures_show_their_sort_meaning_and_first_example(report: Report) -> None:
    text = text_of(report)
    assert "2  gateway.tls_handshake  unknown_ca" in text
    assert "the broker does not trust the authority" in text
    assert "first: 00003 at 0.009 s: the broker sent the alert [unknown_ca]" in text


def test_what_was_cut_off_is_said_apart_from_the_failures(tmp_path: Path) -> None:
    folder = play(tmp_path, run=replace(RUN, thresholds={"failures": "== 0"}), refused=False)
    assert "cut off" not in text_of(summarize(folder.tally))
    playing = Play(folder, refused=False)
    playing.recorder.fail("core2", "00001", Phase.PUBLISH, Outcome.CUT_OFF, "", due=0, started=0, finished=0)
    playing.snapshot(6 * SECOND)
    report = folder.close(RunStatus.COMPLETE)
    assert "core2, cut off by abrupt reconnects, as asked: 1, no failures" in text_of(report)
    assert report.failures == ()
    assert [each.status for each in report.thresholds] == [Status.MET]


def test_a_phase_without_successes_is_in_the_failures_only(report: Report) -> None:
    gateway = text_of(report).partition("gateway, ms")[2].partition("gateway, arrivals")[0]
    assert "tcp_connect" in gateway
    assert "tls_handshake" not in gateway


def test_many_sorts_of_failure_are_cut_short(report: Report) -> None:
    sort = FailureFigures("core2", Phase.PUBLISH, "not_authorized", 1, None, Example("00001", 1.0, "refused"))
    text = text_of(replace(report, failures=(sort,) * (FAILURES_SHOWN + 3)))
    assert text.count("not_authorized") == FAILURES_SHOWN
    assert "and 3 more sorts, in report.json" in text


def test_a_single_fleet_is_not_repeated_before_each_phase(report: Report) -> None:
    text = text_of(replace(report, fleets=report.fleets[:1], failures=report.failures))
    assert "2  tls_handshake  unknown_ca" in text


def test_markup_in_names_is_text(report: Report) -> None:
    assert "[bold]loud[/bold]" in text_of(replace(report, title="[bold]loud[/bold]"))


def test_what_was_delivered_is_told_by_way_and_quality_of_service(report: Report) -> None:
    text = text_of(report)
    assert re.search(r"core2, through +qos +sent +heard +lost +unsure +unseen +doubled +reordered", text)
    assert re.search(r"deliver +1 +20 +18 +2 +0 +0 +2 +0", text)
    assert "gateway, through" not in text


def test_flaws_that_mqtt_rules_out_are_red_and_those_it_allows_are_yellow(report: Report) -> None:
    text = text_of(report, colour=True)
    assert re.search(r"\x1b\[1;31m +2\x1b", text), "lost at QoS 1"
    assert re.search(r"\x1b\[33m +2\x1b", text), "doubled at QoS 1"


def test_devices_with_flaws_are_named_with_them(tmp_path: Path) -> None:
    folder = play(tmp_path / "run")
    folder.observe(HEARING, DELIVERIES * 6)
    text = text_of(folder.close(RunStatus.COMPLETE))
    assert "00003  deliver qos 1: 3 lost of 10" in text
    assert "00002  deliver qos 1: 1 lost, 2 doubled of 10" in text
    assert "and 8 more, in report.json" in text
    assert max(map(len, text.splitlines())) <= 80


def test_the_observer_says_how_it_fared(tmp_path: Path) -> None:
    folder = play(tmp_path / "run")
    folder.observe(HEARING, ())
    text = " ".join(text_of(folder.close(RunStatus.COMPLETE)).split())
    assert "Observer 100 messages heard, 65 µs each" in text
    assert "lag p50 0.00 ms, p99 4.00 ms (limit 100 ms), max 90.0 ms" in text
    assert "its connection broke once; it was away 0.2 s" in text
    assert "2 messages are of no device of this run" in text


@pytest.mark.parametrize(("breaks", "words"), [(0, ""), (3, "its connection broke 3 times")])
def test_the_observer_does_not_speak_of_what_did_not_happen(tmp_path: Path, breaks: int, words: str) -> None:
    folder = play(tmp_path / "run")
    folder.observe(replace(HEARING, breaks=breaks, strangers=0), ())
    text = text_of(folder.close(RunStatus.COMPLETE))
    assert words in text
    assert (" broke " in text) is bool(words)
    assert "no device of this run" not in text


def test_a_run_whose_observer_was_late_does_not_count(tmp_path: Path) -> None:
    folder = play(tmp_path / "run")
    folder.observe(replace(HEARING, lag_p99=101_000), ())
    report = folder.close(RunStatus.COMPLETE)
    assert report.conclusion is Conclusion.NOT_COUNTED
    assert report.reason.startswith("The observer was the limit, not the broker")


def test_the_generator_says_how_it_fared(report: Report) -> None:
    text = " ".join(text_of(report).split())
    assert "CPU 25% of one core, 25% at its busiest; memory 64 MiB" in text
    assert "lag p50 0.40 ms, p99 0.40 ms (limit 100 ms), max 0.40 ms" in text


def test_times_beyond_what_a_histogram_tells_are_mentioned(report: Report, tmp_path: Path) -> None:
    assert "count as that" not in text_of(report)
    late = play(tmp_path, lag=2 * 3600 * SECOND).close(RunStatus.COMPLETE)
    text = " ".join(text_of(late).split())
    assert "connect: 20 took 71 minutes or longer, and count as that" in text
    assert late.generator.lag is not None
    assert f"{late.generator.lag.overflow} began 71 minutes or longer late" in text


def test_several_shards_are_laid_out_with_the_slow_one_and_the_lost_one(report: Report) -> None:
    first = report.generator.shards[0]
    slow = replace(first, shard=1, host="lab2 (77)")
    gone = replace(first, shard=2, lag=None, lost=(12.34, "it does not answer"))
    generator = replace(report.generator, shards=(first, slow, gone), slowest=1)
    lines = [line.rstrip() for line in text_of(replace(report, generator=generator)).splitlines()]
    (heading,) = [number for number, line in enumerate(lines) if line.startswith("Shards ")]
    assert any("3 shards" in line for line in lines)
    assert lines[heading + 1].startswith("0  this process")
    assert lines[heading + 1].split()[3] == f"{first.devices}"
    assert lines[heading + 2].startswith("1  lab2 (77)")
    assert lines[heading + 2].endswith("slowest")
    assert lines[heading + 3].endswith("-     -     -  lost at 12.3 s")


def test_one_shard_needs_no_table(report: Report) -> None:
    assert "Shards" not in text_of(report)


def test_a_run_that_does_not_count_says_so_first(tmp_path: Path) -> None:
    text = text_of(play(tmp_path, lag=250 * MILLISECOND).close(RunStatus.COMPLETE))
    assert "This run does not count. The generator was the limit" in text
    assert "started 250 ms late" in " ".join(text.split())


def test_an_empty_run_is_still_a_report(report: Report) -> None:
    generator = replace(report.generator, lag=None)
    bare = replace(report, thresholds=(), fleets=(), stages=(), failures=(), generator=generator)
    text = text_of(bare)
    assert "no devices, against mosquitto" in text
    assert "lag" not in text


@pytest.mark.parametrize(
    ("microseconds", "words"),
    [
        (1, "0.00"),
        (4, "0.00"),
        (5_123, "5.12"),
        (9_994, "9.99"),
        (9_996, "10.0"),
        (99_960, "100"),
        (12_345_678, "12,346"),
    ],
)
def test_milliseconds_have_three_digits(report: Report, microseconds: int, words: str) -> None:
    assert report.generator.lag is not None
    lag = replace(report.generator.lag, max=microseconds)
    assert f"max {words} ms" in text_of(replace(report, generator=replace(report.generator, lag=lag)))
