"""The run folder while a run writes it: whatever happens, what is on disk can be reported.

    scenario.toml      the scenario as run
    run.json           what the run was, and how it ended
    histograms.hlog    a histogram a line, in HdrHistogram's log format
    intervals.jsonl    counts and gauges, a line an interval
    failures.jsonl     failures, written as they happen
    deliveries.jsonl   what became of each device's messages, once an observed run has ended
    report.json        the report, once the run has ended

Everything that grows is appended and flushed at once, so a run whose process was killed is reported as
incomplete with all that it had measured.
"""

from __future__ import annotations

import re
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from simulator.errors import BrokerUnreachableError, RunFolderError
from simulator.report import delivery_log, histogram_log, interval
from simulator.report.run import RUN, RunStatus
from simulator.report.summary import summarize
from simulator.report.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime
    from io import FileIO
    from pathlib import Path

    from simulator.metrics.delivery import DeviceDelivery, Hearing
    from simulator.metrics.sample import Failure
    from simulator.metrics.snapshot import Snapshot
    from simulator.report.figures import Report
    from simulator.report.run import Loss, Run

__all__ = [
    "DELIVERIES",
    "FAILURES",
    "FAILURES_KEPT",
    "HISTOGRAMS",
    "INTERVALS",
    "REPORT_FILE",
    "RUN_FILE",
    "SCENARIO_FILE",
    "RunFolder",
    "folder_name",
]

SCENARIO_FILE = "scenario.toml"
RUN_FILE = "run.json"
HISTOGRAMS = "histograms.hlog"
INTERVALS = "intervals.jsonl"
FAILURES = "failures.jsonl"
DELIVERIES = "deliveries.jsonl"
REPORT_FILE = "report.json"

FAILURES_KEPT = 100_000
"""Lines after which only the first failure of a sort is still written; counts stay complete in any case."""


def folder_name(scenario: str, moment: datetime) -> str:
    """Return the name of the folder that a run of ``scenario``, begun at ``moment``, gets by default."""
    slug = re.sub(r"[^\w.-]+", "-", scenario)
    return f"{moment:%Y%m%dT%H%M%SZ}-{slug}"


def _status_after(error: BaseException | None) -> RunStatus:
    match error:
        case KeyboardInterrupt():
            return RunStatus.INTERRUPTED
        case BrokerUnreachableError():
            return RunStatus.UNREACHABLE
    return RunStatus.FAILED


class RunFolder:
    """Writes one run. A context manager: left without ``close``, the run is recorded as what ended it.

    All methods raise ``RunFolderError`` where the folder cannot be written.
    """

    def __init__(self, path: Path, run: Run) -> None:
        self.path = path
        self.tally = Tally(run)
        self._failures_written = 0
        with ExitStack() as opened:
            self._histograms = opened.enter_context(_open(path / HISTOGRAMS))
            self._intervals = opened.enter_context(_open(path / INTERVALS))
            self._failures = opened.enter_context(_open(path / FAILURES))
            _append(self._histograms, [histogram_log.header(run.started)])
            self._open_files = opened.pop_all()

    @staticmethod
    def check(path: Path) -> None:
        """Make the folder and its parents, and see that it is empty: what can be known before a run."""
        try:
            path.mkdir(parents=True, exist_ok=True)
            in_use = any(path.iterdir())
        except OSError as error:
            raise RunFolderError(f"cannot make the run folder {path}: {error.strerror}") from error
        if in_use:
            raise RunFolderError(f"{path} is not empty: name a new folder, so that no run overwrites another")

    @classmethod
    def create(cls, path: Path, run: Run, scenario: str) -> Self:
        """Make the folder and its parents, and save what is known at the start; ``scenario`` is TOML text."""
        cls.check(path)
        _save(path / SCENARIO_FILE, scenario)
        _save_run(path, run)
        return cls(path, run)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if self.tally.run.status is RunStatus.RUNNING:
            self.close(_status_after(error), str(error) if error else "")

    def write(self, snapshot: Snapshot) -> None:
        """Add one interval of one shard, and save it."""
        for _ in self.write_in_steps(snapshot):
            pass

    def write_in_steps(self, snapshot: Snapshot) -> Iterator[None]:
        """Do what ``write`` does, and stop after each fraction of a millisecond for others to go on."""
        self.tally.add(snapshot)
        yield
        for line in histogram_log.lines(snapshot):
            _append(self._histograms, [line])
            yield
        _append(self._intervals, [interval.to_json(snapshot) + "\n"])

    def fail(self, failure: Failure) -> None:
        """Save one failure, at once."""
        if self.tally.add_failure(failure) or self._failures_written < FAILURES_KEPT:
            self._failures_written += 1
            _append(self._failures, [failure.to_json() + "\n"])

    def lose(self, loss: Loss) -> None:
        """Save that a shard was lost, at once."""
        self.tally.run = replace(self.tally.run, losses=(*self.tally.run.losses, loss))
        _save_run(self.path, self.tally.run)

    def observe(self, hearing: Hearing, devices: Iterable[DeviceDelivery]) -> None:
        """Save how the observer fared, and what became of each device's messages."""
        self.tally.run = replace(self.tally.run, hearing=hearing)
        lines = []
        for device in devices:
            self.tally.add_device(device)
            lines.append(delivery_log.to_json(device) + "\n")
        _save(self.path / DELIVERIES, "".join(lines))

    def close(self, status: RunStatus, detail: str = "") -> Report:
        """End the run: save how it ended and its report, and return the report."""
        self._open_files.close()
        self.tally.run = replace(self.tally.run, status=status, detail=detail)
        _save_run(self.path, self.tally.run)
        report = summarize(self.tally)
        _save(self.path / REPORT_FILE, report.to_json())
        return report


def _open(path: Path) -> FileIO:
    try:
        return path.open("ab", buffering=0)
    except OSError as error:
        raise RunFolderError(f"cannot write {path}: {error.strerror}") from error


def _append(file: FileIO, lines: Iterable[str]) -> None:
    """Write ``lines`` without a buffer: on a full disk, a buffer would fail once more when it is closed."""
    rest = "".join(lines).encode()
    try:
        while rest:
            rest = rest[file.write(rest) :]
    except OSError as error:
        raise RunFolderError(f"cannot write {file.name!s}: {error.strerror}") from error


def _save_run(path: Path, run: Run) -> None:
    _save(path / RUN_FILE, RUN.dump_json(run, indent=2).decode() + "\n")


def _save(path: Path, text: str) -> None:
    """Write a whole file in such a way that a reader finds the old one or the new one."""
    draft = path.with_name(f".{path.name}.new")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        raise RunFolderError(f"cannot write {path}: {error.strerror}") from error
