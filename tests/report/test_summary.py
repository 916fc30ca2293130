from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from simulator.clock import MICROSECOND, MILLISECOND, SECOND
from simulator.metrics.sample import Phase
from simulator.metrics.snapshot import ArrivalOf
from simulator.metrics.threshold import Status
from simulator.report.conclusion import Conclusion
from simulator.report.figures import (
    ArrivalFigures,
    Connected,
    Example,
    FailureFigures,
    Rate,
    ResumptionFigures,
)
from simulator.report.folder import RunFolder
from simulator.report.run import Loss, Run, RunStatus, Stage
from simulator.report.saved import read
from simulator.report.summary import summarize
from tests.report.example import RUN, SCENARIO, Play, play

if TYPE_CHECKING:
    from pathlib import Path

    from simulator.report.figures import FleetFigures, PhaseFigures, Report


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return play(tmp_path_factory.mktemp("run")).close(RunStatus.COMPLETE)


def fleet(report: Report, name: str) -> FleetFigures:
    return next(each for each in report.fleets if each.fleet == name)


def phase(report: Report, fleet_name: str, wanted: Phase) -> PhaseFigures:
    return next(each for each in fleet(report, fleet_name).phases if each.phase is wanted)


def end(
    path: Path, status: RunStatus = RunStatus.COMPLETE, *, run: Run = RUN, lag: int = MILLISECOND
) -> Report:
    return play(path, run=run, lag=lag).close(status)


def test_phases_come_in_order_and_only_those_that_occurred(report: Report) -> None:
    phases = [each.phase for each in fleet(report, "core2").phases]
    assert phases == [
        Phase.TCP_CONNECT,
        Phase.TLS_HANDSHAKE,
        Phase.MQTT_CONNECT,
        Phase.CONNECT,
        Phase.PUBLISH,
    ]


def test_resumed_handshakes_are_counted_timed_and_costed_apart(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path / "run", RUN, SCENARIO) as folder:
        recorder = Play(folder).recorder
        counts = recorder.resumptions("core2")
        for resumed, offered, cpu in ((False, False, 900), (False, True, 1_100), (True, True, 250)):
            of = Phase.TLS_RESUMPTION if resumed else Phase.TLS_HANDSHAKE
            recorder.series("core2", of).ok.append((0, 0, 3 * cpu * MICROSECOND))
            counts.count(again=offered, offered=offered, resumed=resumed, cpu=cpu * MICROSECOND)
        folder.write(recorder.snapshot(SECOND, devices={}, cpu=0, rss=0))
        report = folder.close(RunStatus.COMPLETE)
    assert fleet(report, "core2").resumption == ResumptionFigures(
        reconnects=2, resumed=1, refused=1, full_cpu=1_000, resumed_cpu=250
    )
    assert fleet(report, "gateway").resumption is None
    service = phase(report, "core2", Phase.TLS_RESUMPTION).service
    assert service is not None
    assert (service.count, service.max) == (1, 750)
    assert summarize(read(tmp_path / "run")) == report


def test_a_fleet_that_never_came_back_has_nothing_to_compare(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path / "run", RUN, SCENARIO) as folder:
        recorder = Play(folder).recorder
        recorder.resumptions("core2").count(again=False, offered=False, resumed=False, cpu=MICROSECOND)
        folder.write(recorder.snapshot(SECOND, devices={}, cpu=0, rss=0))
        found = fleet(folder.close(RunStatus.COMPLETE), "core2").resumption
    assert found == ResumptionFigures(reconnects=0, resumed=0, refused=0, full_cpu=None, resumed_cpu=None)


def test_response_is_service_and_lag_together(report: Report) -> None:
    connect = phase(report, "core2", Phase.CONNECT)
    assert connect.response is not None
    assert connect.service is not None
    assert connect.response.count == connect.service.count == 20
    assert connect.response.max == pytest.approx(connect.service.max + 400, abs=1)
    assert connect.response.p50 <= connect.response.p90 <= connect.response.p99 <= connect.response.p99_9


def test_a_phase_that_never_succeeded_has_outcomes_only(report: Report) -> None:
    handshake = phase(report, "gateway", Phase.TLS_HANDSHAKE)
    assert (handshake.outcomes, handshake.response, handshake.service) == ({"unknown_ca": 2}, None, None)


def test_failures_are_told_under_the_step_that_failed_with_an_example(report: Report) -> None:
    assert report.failures == (
        FailureFigures(
            "gateway",
            Phase.TLS_HANDSHAKE,
            "unknown_ca",
            2,
            "the broker does not trust the authority that issued the device's certificate",
            Example("00003", 0.0094, "the broker sent the alert [unknown_ca]"),
        ),
    )


def test_arrivals(report: Report) -> None:
    connects, messages = fleet(report, "core2").arrivals
    assert connects == ArrivalFigures(ArrivalOf.CONNECT, 20, 20, 0, 0, 0)
    assert (messages.of, messages.due) == (ArrivalOf.MESSAGE, 200)
    assert messages.started + messages.dropped == 200
    assert messages.dropped > 0


def test_stages(report: Report) -> None:
    ramp, steady = report.stages
    assert (ramp.name, ramp.start, ramp.end, ramp.reached_end) == ("ramp", 0.0, 2.0, True)
    assert ramp.connected == {"core2": Connected(20, 20), "gateway": Connected(0, 5)}
    assert ramp.connects == Rate(due=11.0, achieved=10.0)
    assert ramp.messages == Rate(0.0, 0.0)
    assert steady.messages.due == 100.0
    assert 80 < steady.messages.achieved < 100


def test_generator(report: Report) -> None:
    generator = report.generator
    assert generator.cpu_seconds == 1.25
    assert generator.cpu_share == generator.cpu_share_peak == 0.25
    assert generator.memory_peak == 64 << 20
    assert generator.lag is not None
    assert generator.lag.p50 == generator.lag.max == 400
    assert generator.lag_limit == 100_000


def test_a_run_that_meets_its_thresholds(report: Report) -> None:
    assert [each.status for each in report.thresholds] == [Status.MET, Status.MET]
    assert (report.conclusion, report.exit_code) == (Conclusion.MET, 0)
    assert report.reason == "All 2 thresholds are met."


@pytest.mark.parametrize(
    ("thresholds", "conclusion", "code", "reason"),
    [
        ({}, Conclusion.MET, 0, "sets no thresholds"),
        ({"connect.p99": "< 1s"}, Conclusion.MET, 0, "The one threshold is met."),
        ({"failures": "== 0"}, Conclusion.BROKEN, 1, "1 of 1 threshold broken: failures."),
        ({"subscribe.p99": "< 1s"}, Conclusion.NOT_COUNTED, 3, "No data for subscribe.p99"),
        ({"failures": "== 0", "subscribe.p99": "< 1s"}, Conclusion.BROKEN, 1, "1 of 2 thresholds broken"),
    ],
)
def test_conclusions_from_thresholds(
    *, tmp_path: Path, thresholds: dict[str, str], conclusion: Conclusion, code: int, reason: str
) -> None:
    report = end(tmp_path, run=replace(RUN, thresholds=thresholds))
    assert (report.conclusion, report.exit_code) == (conclusion, code)
    assert reason in report.reason


@pytest.mark.parametrize(
    ("status", "conclusion", "code"),
    [
        (RunStatus.INTERRUPTED, Conclusion.INTERRUPTED, 130),
        (RunStatus.UNREACHABLE, Conclusion.UNREACHABLE, 4),
        (RunStatus.FAILED, Conclusion.INCOMPLETE, 3),
    ],
)
def test_how_a_run_ended_outweighs_what_it_met(
    tmp_path: Path, status: RunStatus, conclusion: Conclusion, code: int
) -> None:
    report = end(tmp_path, status, lag=SECOND)
    assert (report.conclusion, report.exit_code) == (conclusion, code)


def test_what_made_a_run_fail_is_the_reason(tmp_path: Path) -> None:
    report = play(tmp_path).close(RunStatus.FAILED, "mosquitto ended by itself")
    assert report.reason == "mosquitto ended by itself"


def test_lag_over_its_limit_means_that_the_run_does_not_count(tmp_path: Path) -> None:
    broken = replace(RUN, thresholds={"failures": "== 0"})
    report = end(tmp_path, run=broken, lag=150 * MILLISECOND)
    assert (report.conclusion, report.exit_code) == (Conclusion.NOT_COUNTED, 3)
    assert report.reason.startswith(
        "The generator was the limit, not the broker: 1 % of arrivals started 150 ms"
    )


def test_nothing_measured_does_not_count(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, replace(RUN, thresholds={}), SCENARIO)
    report = folder.close(RunStatus.COMPLETE)
    assert (report.conclusion, report.reason) == (
        Conclusion.NOT_COUNTED,
        "Nothing was measured: no device connected, or tried to.",
    )


def test_a_complete_run_in_which_nothing_answered_was_against_no_broker(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, RUN, SCENARIO)
    playing = Play(folder)
    playing.recorder.fail(
        "core2", "00001", Phase.TCP_CONNECT, "refused", "nothing listens", due=0, started=0, finished=1
    )
    playing.snapshot(SECOND)
    report = folder.close(RunStatus.COMPLETE)
    assert (report.conclusion, report.exit_code) == (Conclusion.UNREACHABLE, 4)


def test_devices_count_as_connected_only_at_the_end_of_the_last_stage(tmp_path: Path) -> None:
    run = replace(RUN, thresholds={"core2.connected": "== 100%"})
    report = play(tmp_path, run=run, seconds=3).close(RunStatus.COMPLETE)
    assert not report.stages[-1].reached_end
    assert report.stages[-1].messages.due == 100.0
    assert report.thresholds[0].status is Status.NO_DATA


def test_devices_that_leave_after_the_last_stage_were_connected_at_its_end(tmp_path: Path) -> None:
    folder = play(tmp_path)
    assert folder.tally.totals.devices["core2"]["connected"] == 0
    assert folder.tally.stages[-1].devices(())["core2"]["connected"] == 20
    assert folder.close(RunStatus.COMPLETE).thresholds[1].status is Status.MET


@pytest.mark.parametrize(("short", "reached"), [(0, True), (1, False)])
def test_a_stage_that_was_cut_off_at_the_last_moment_was_cut_off(
    tmp_path: Path, short: int, reached: bool
) -> None:
    folder = RunFolder.create(tmp_path, RUN, SCENARIO)
    playing = Play(folder)
    for number in range(3):
        playing.second(number)
    playing.snapshot(4 * SECOND - short)
    assert folder.close(RunStatus.INTERRUPTED).stages[-1].reached_end is reached


def test_times_beyond_what_a_histogram_tells_are_counted(report: Report, tmp_path: Path) -> None:
    late = phase(end(tmp_path, lag=2 * 3600 * SECOND), "core2", Phase.CONNECT)
    for figures, overflow in ((late.response, 20), (late.service, 0)):
        assert figures is not None
        assert (figures.count, figures.overflow) == (20, overflow)
    intime = phase(report, "core2", Phase.CONNECT).response
    assert intime is not None
    assert intime.overflow == 0


def test_a_stage_not_reached_has_no_rates(tmp_path: Path) -> None:
    stages = (*RUN.stages, Stage("storm", 60 * SECOND, 62 * SECOND))
    report = end(tmp_path, run=replace(RUN, stages=stages))
    storm = report.stages[-1]
    assert (storm.reached_end, storm.connects, storm.connected) == (False, Rate(0.0, 0.0), {})


def test_a_run_without_stages_has_nobody_connected_at_its_end(tmp_path: Path) -> None:
    report = end(tmp_path, run=replace(RUN, stages=()))
    assert report.thresholds[1].status is Status.NO_DATA


def test_what_a_saturated_generator_measured_late_belongs_to_its_stage(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, RUN, SCENARIO)
    playing = Play(folder)
    for number in range(3):
        playing.second(number)
    playing.snapshot(60 * SECOND)  # long after the stage should have ended
    steady = folder.close(RunStatus.COMPLETE).stages[-1]
    assert (steady.name, steady.reached_end) == ("steady", True)
    assert steady.connected["core2"].connected == 20


HOSTS = ("lab1 (11)", "lab2 (22)")


def play_two_shards(path: Path, seconds: int = 5) -> RunFolder:
    """Play the same load in two shards, of which the second is ten times as late."""
    folder = RunFolder.create(path, replace(RUN, hosts=HOSTS), SCENARIO)
    shards = [Play(folder), Play(folder, lag=4 * MILLISECOND, shard=1)]
    for second in range(seconds):
        for shard in shards:
            shard.second(second)
    return folder


def test_what_two_shards_measured_is_added(tmp_path: Path) -> None:
    one = play(tmp_path / "one").close(RunStatus.COMPLETE)
    two = play_two_shards(tmp_path / "two").close(RunStatus.COMPLETE)
    for alone, both in zip(one.fleets, two.fleets, strict=True):
        for phase, added in zip(alone.phases, both.phases, strict=True):
            assert added.outcomes == {outcome: 2 * count for outcome, count in phase.outcomes.items()}
            if phase.service is not None and added.service is not None:
                assert added.service.count == 2 * phase.service.count
                assert (added.service.p99, added.service.max) == (phase.service.p99, phase.service.max)


def test_each_shard_shows_what_it_used_and_which_was_the_slow_one(tmp_path: Path) -> None:
    generator = play_two_shards(tmp_path).close(RunStatus.COMPLETE).generator
    assert [(shard.shard, shard.host) for shard in generator.shards] == list(enumerate(HOSTS))
    assert generator.slowest == 1
    quick, slow = generator.shards
    assert quick.lag is not None
    assert slow.lag is not None
    assert generator.lag is not None
    assert quick.lag.p99 < 500
    assert slow.lag.p50 > 3_900
    assert generator.lag.count == quick.lag.count + slow.lag.count
    assert (quick.devices, quick.cpu_seconds, quick.memory_peak) == (25, 1.25, 64 << 20)
    assert generator.cpu_seconds == 2.5
    assert generator.memory_peak == 128 << 20


def test_one_shard_is_never_the_slow_one(tmp_path: Path) -> None:
    assert play(tmp_path).close(RunStatus.COMPLETE).generator.slowest is None


def test_a_run_of_two_shards_reads_back_as_it_was(tmp_path: Path) -> None:
    folder = play_two_shards(tmp_path)
    folder.lose(Loss(1, 4 * SECOND, {"core2": 20, "gateway": 5}, "it does not answer"))
    report = folder.close(RunStatus.COMPLETE)
    assert summarize(read(tmp_path)) == report


def test_a_lost_shard_makes_the_run_incomplete_and_says_what_was_lost(tmp_path: Path) -> None:
    folder = play_two_shards(tmp_path)
    folder.lose(Loss(1, 3 * SECOND, {"core2": 20, "gateway": 5}, "the worker does not answer"))
    report = folder.close(RunStatus.COMPLETE)
    assert (report.conclusion, report.exit_code) == (Conclusion.INCOMPLETE, 3)
    assert report.reason == (
        "Shard 1 of 2 was lost after 3.0 s: the worker does not answer. 25 of 25 devices went with it;"
        " the rest went on."
    )
    ramp, steady = report.stages
    assert ramp.connected["core2"] == Connected(40, 40)
    assert steady.connected["core2"] == Connected(20, 40)
    assert report.generator.shards[1].lost == (3.0, "the worker does not answer")


def test_a_loss_is_saved_at_once(tmp_path: Path) -> None:
    folder = play_two_shards(tmp_path)
    loss = Loss(1, 3 * SECOND, {"core2": 20}, "the worker does not answer")
    folder.lose(loss)
    assert read(tmp_path).run.losses == (loss,)
    folder.close(RunStatus.COMPLETE)


def test_several_losses_are_counted(tmp_path: Path) -> None:
    folder = play_two_shards(tmp_path)
    for shard in (0, 1):
        folder.lose(Loss(shard, 3 * SECOND, {"core2": 10}, "it does not answer"))
    reason = folder.close(RunStatus.COMPLETE).reason
    assert reason.startswith(
        "Shard 0 of 2 was lost after 3.0 s, and 1 more after it: it does not answer. 20 of "
    )
