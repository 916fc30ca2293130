from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

from simulator.errors import BrokerUnreachableError, RunFolderError
from simulator.metrics.sample import Failure, Kind, Phase
from simulator.metrics.snapshot import SeriesKey, Totals
from simulator.report import folder as files
from simulator.report.conclusion import Conclusion
from simulator.report.figures import REPORT
from simulator.report.folder import RunFolder, folder_name
from simulator.report.run import RunStatus
from simulator.report.saved import read
from simulator.report.summary import summarize
from tests.report.example import DELIVERIES, HEARING, RUN, SCENARIO, play

FULL = Path("/dev/full")
"""A file to which nothing can be written, for want of space."""


def failure(number: int, outcome: str = "timeout") -> Failure:
    return Failure(number, "core2", f"{number:05}", "ramp", Phase.CONNECT, outcome, "no answer", 0, 0, number)


def status_on_disk(path: Path) -> object:
    return json.loads((path / "run.json").read_text())["status"]


def test_the_report_from_disk_is_the_report_from_memory(tmp_path: Path) -> None:
    made = play(tmp_path / "run").close(RunStatus.COMPLETE)
    assert summarize(read(tmp_path / "run")) == made


def test_report_json_holds_the_report(tmp_path: Path) -> None:
    made = play(tmp_path / "run").close(RunStatus.COMPLETE)
    text = (tmp_path / "run" / "report.json").read_text()
    assert REPORT.validate_json(text) == made
    assert json.loads(text)["format"] == 1
    assert "p99.9" in json.loads(text)["fleets"][0]["phases"][0]["response"]


def test_the_folder_has_the_files_that_its_docstring_names(tmp_path: Path) -> None:
    play(tmp_path / "run").close(RunStatus.COMPLETE)
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert all(name in (files.__doc__ or "") for name in names)
    assert len(names) == 6
    assert (tmp_path / "run" / "scenario.toml").read_text() == SCENARIO


def test_an_observed_run_has_one_file_more(tmp_path: Path) -> None:
    folder = play(tmp_path / "run")
    folder.observe(HEARING, DELIVERIES)
    made = folder.close(RunStatus.COMPLETE)
    assert files.DELIVERIES in (files.__doc__ or "")
    assert len((tmp_path / "run" / files.DELIVERIES).read_text().splitlines()) == len(DELIVERIES)
    assert summarize(read(tmp_path / "run")) == made
    assert [each.device for each in made.flawed] == ["00003", "00002", "00004"], "those first that lost most"
    assert made.observer is not None
    assert (made.observer.messages, made.observer.cost, made.observer.away) == (100, 65.0, 0.25)


def test_parents_are_made_and_an_empty_folder_is_used(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    path.mkdir(parents=True)
    play(path).close(RunStatus.COMPLETE)
    play(tmp_path / "c" / "d" / "e").close(RunStatus.COMPLETE)


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("kept")
    with pytest.raises(RunFolderError, match="is not empty: name a new folder"):
        RunFolder.create(tmp_path, RUN, SCENARIO)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match=f"cannot make the run folder {tmp_path / 'file' / 'run'}"):
        RunFolder.create(tmp_path / "file" / "run", RUN, SCENARIO)


def test_a_folder_that_vanishes_is_named_when_the_report_is_saved(tmp_path: Path) -> None:
    folder = play(tmp_path / "run")
    (tmp_path / "run").rename(tmp_path / "elsewhere")
    with pytest.raises(RunFolderError, match=r"cannot write .*run\.json"):
        folder.close(RunStatus.COMPLETE)


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "FAILURES", "missing/failures.jsonl")
    with pytest.raises(RunFolderError, match=r"cannot write .*missing/failures\.jsonl: No such file"):
        RunFolder.create(tmp_path / "run", RUN, SCENARIO)


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_told_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "full").symlink_to(FULL)
    monkeypatch.setattr(files, "HISTOGRAMS", "../full")
    with pytest.raises(RunFolderError, match=r"cannot write .*full: No space left on device"):
        RunFolder.create(tmp_path / "run", RUN, SCENARIO)


def test_the_log_is_read_by_the_librarys_own_reader(tmp_path: Path) -> None:
    folder = play(tmp_path / "run")
    folder.close(RunStatus.COMPLETE)
    reader = HistogramLogReader(str(tmp_path / "run" / "histograms.hlog"), HdrHistogram(1, 3_600_000_000, 3))
    intervals = []
    while interval := reader.get_next_interval_histogram():
        intervals.append(interval)
    reader.close()

    assert reader.get_start_time_sec() == RUN.started.timestamp()
    publishes = [each for each in intervals if each.get_tag() == "core2.publish.response"]
    began = [each.get_start_time_stamp() / 1000 - RUN.started.timestamp() for each in publishes]
    assert began == [2.0, 3.0]
    key = SeriesKey("core2", Phase.PUBLISH)
    assert sum(each.get_total_count() for each in publishes) == folder.tally.totals.series(key).outcomes["ok"]


def test_percentiles_of_the_librarys_sum_are_those_of_the_report(tmp_path: Path) -> None:
    folder = play(tmp_path / "run")
    folder.close(RunStatus.COMPLETE)
    whole = HdrHistogram(1, 3_600_000_000, 3)
    for line in (tmp_path / "run" / "histograms.hlog").read_text().splitlines():
        if line.startswith("Tag=core2.publish.service,"):
            whole.decode_and_add(line.rsplit(",", 1)[1])
    ours = folder.tally.totals.histogram(Kind.SERVICE, fleet="core2", phase=Phase.PUBLISH)
    assert whole.get_total_count() == ours.count
    assert abs(whole.get_value_at_percentile(50) - ours.percentile(50)) <= ours.percentile(50) / 500


def test_failures_are_on_disk_as_soon_as_they_happen(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path / "run", RUN, SCENARIO) as folder:
        folder.fail(failure(1))
        assert (tmp_path / "run" / "failures.jsonl").read_text() == failure(1).to_json() + "\n"


def test_failures_are_bounded_but_each_sort_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "FAILURES_KEPT", 10)
    with RunFolder.create(tmp_path / "run", RUN, SCENARIO) as folder:
        for number in range(50):
            folder.fail(failure(number))
        folder.fail(failure(99, "refused"))
    lines = (tmp_path / "run" / "failures.jsonl").read_text().splitlines()
    assert len(lines) == 11
    assert Failure.from_json(lines[-1]) == failure(99, "refused")
    assert read(tmp_path / "run").examples == folder.tally.examples


def test_a_killed_run_is_reported_as_incomplete_with_all_it_measured(tmp_path: Path) -> None:
    folder = play(tmp_path / "run", seconds=3)
    found = read(tmp_path / "run")
    report = summarize(found)
    assert report.conclusion is Conclusion.INCOMPLETE
    assert report.seconds == 3.0
    assert found.totals.outcomes() == folder.tally.totals.outcomes()
    folder.close(RunStatus.FAILED)


@pytest.mark.parametrize("name", ["histograms.hlog", "intervals.jsonl", "failures.jsonl"])
def test_a_line_torn_by_the_kill_is_passed_over(tmp_path: Path, name: str) -> None:
    play(tmp_path / "run").close(RunStatus.COMPLETE)
    file = tmp_path / "run" / name
    file.write_bytes(file.read_bytes()[:-20])
    read(tmp_path / "run")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RuntimeError("out of luck"), RunStatus.FAILED),
        (KeyboardInterrupt(), RunStatus.INTERRUPTED),
        (BrokerUnreachableError("nothing listens at 127.0.0.1:1"), RunStatus.UNREACHABLE),
    ],
)
def test_what_ends_a_run_early_is_recorded(tmp_path: Path, error: BaseException, status: RunStatus) -> None:
    with pytest.raises(type(error)), RunFolder.create(tmp_path / "run", RUN, SCENARIO):
        raise error
    assert status_on_disk(tmp_path / "run") == status
    assert read(tmp_path / "run").run == replace(RUN, status=status, detail=str(error))


def test_a_run_says_that_it_is_running_until_it_is_closed(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path / "run", RUN, SCENARIO) as folder:
        assert status_on_disk(tmp_path / "run") == "running"
        folder.close(RunStatus.COMPLETE)
        assert status_on_disk(tmp_path / "run") == "complete"
    assert status_on_disk(tmp_path / "run") == "complete"


def test_live_totals_are_those_of_the_snapshots(tmp_path: Path) -> None:
    with play(tmp_path / "run", seconds=1) as folder:
        assert isinstance(folder.tally.totals, Totals)
        assert folder.tally.totals.devices["core2"]["connected"] == 10


@pytest.mark.parametrize(
    ("scenario", "name"),
    [("quickstart", "20260102T030405Z-quickstart"), ("my run/1", "20260102T030405Z-my-run-1")],
)
def test_default_names_sort_by_time_and_are_fit_for_a_file_system(scenario: str, name: str) -> None:
    assert folder_name(scenario, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)) == name
