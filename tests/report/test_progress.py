from __future__ import annotations

import io
import re
from collections import Counter

import pytest
from rich.console import Console

from simulator.clock import SECOND
from simulator.metrics.sample import Phase
from simulator.metrics.snapshot import SeriesInterval, SeriesKey, Snapshot, Totals
from simulator.report.progress import LINE_EVERY, ProgressView
from simulator.timetable import StageTimes

STAGES = (StageTimes("ramp", 0, 10 * SECOND, ()), StageTimes("steady", 10 * SECOND, 900 * SECOND, ()))


class Screen:
    """A view and what it has written: to a pipe, or to a terminal."""

    def __init__(self, *, terminal: bool, width: int = 80, kind: str = "xterm") -> None:
        self.file = io.StringIO()
        console = Console(file=self.file, width=width, force_terminal=terminal, _environ={"TERM": kind})
        self.view = ProgressView(console)
        self.totals = Totals()

    def second(self, end: int, *, devices: int = 10, published: int = 0, failed: int = 0) -> None:
        """Let the view see the second that ends ``end`` seconds after the start."""
        outcomes = Counter({"ok": published, "ack_timeout": failed})
        snapshot = Snapshot(
            shard=0,
            stage="steady",
            start=(end - 1) * SECOND,
            end=end * SECOND,
            series={SeriesKey("core2", Phase.PUBLISH): SeriesInterval(outcomes)},
            arrivals={},
            devices={"core2": {"connected": devices, "backing_off": 0}},
            cpu=0,
            rss=0,
        )
        self.totals.add(snapshot)
        self.view.measured(snapshot, self.totals)

    @property
    def text(self) -> str:
        return self.file.getvalue()

    @property
    def drawn(self) -> list[str]:
        """Each drawing of the line, without what moves the cursor."""
        plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self.text)
        return [line for line in re.split(r"[\r\n]", plain) if line.strip()]


def test_in_a_pipe_it_writes_a_line_every_few_seconds() -> None:
    screen = Screen(terminal=False)
    screen.view.started(STAGES, 1)
    for end in range(1, 13):
        screen.second(end, published=40, failed=1)
    lines = screen.text.splitlines()
    assert [line[:8] for line in lines] == ["[   1 s]", "[   5 s]", "[  10 s]"]
    assert lines[1] == "[   5 s] ramp (1/2), 5 s left: 10/10 connected · 40 msg/s · 5 failed"
    assert LINE_EVERY == 5 * SECOND
    assert "\x1b" not in screen.text


def test_in_a_pipe_issuing_is_one_line_a_fleet() -> None:
    screen = Screen(terminal=False)
    for done in (0, 250, 500):
        screen.view.issuing("core2", done, 500)
    screen.view.issuing("gateway", 0, 1)
    assert screen.text.splitlines() == [
        "issuing 500 certificates for core2",
        "issuing 1 certificate for gateway",
    ]


def test_a_dumb_terminal_gets_lines_as_a_pipe_does() -> None:
    screen = Screen(terminal=True, kind="dumb")
    screen.view.started(STAGES, 1)
    screen.second(1)
    assert screen.text.startswith("[   1 s] ramp (1/2)")


def test_on_a_terminal_it_draws_one_line_and_takes_it_away() -> None:
    screen = Screen(terminal=True)
    screen.view.issuing("core2", 250, 500)
    assert "issuing certificates for core2" in screen.drawn[-1]
    assert "250 of 500" in screen.drawn[-1]
    screen.view.broker("mosquitto 2.0.11")
    assert screen.drawn[-1] == "broker: mosquitto 2.0.11"
    screen.view.started(STAGES, 1)
    screen.second(12, devices=7)
    assert "steady (2/2), 888 s left" in screen.drawn[-1]
    assert "7/7 connected" in screen.drawn[-1]
    screen.view.finished()
    assert screen.text.rindex("\x1b[?25h") > screen.text.rindex("\x1b[?25l")
    assert screen.text.endswith("\x1b[2K")  # the line is erased, and what follows begins in its place


@pytest.mark.parametrize("width", [80, 100, 160])
def test_the_counts_of_a_large_fleet_are_not_cut_off(width: int) -> None:
    screen = Screen(terminal=True, width=width)
    screen.view.started(STAGES, 1)
    screen.second(12, devices=9_999, published=9_876, failed=4_321)
    line = screen.drawn[-1]
    assert line.rstrip().endswith("9,999/9,999 connected · 9,876 msg/s · 4,321 failed")
    assert len(line) <= width


def test_after_the_last_stage_it_says_so() -> None:
    screen = Screen(terminal=False)
    screen.view.started(STAGES, 1)
    screen.second(901)
    assert "] finishing: " in screen.text


def test_what_it_says_is_not_taken_for_markup() -> None:
    screen = Screen(terminal=True)
    screen.view.broker("[bold]broker[/]")
    screen.view.started((StageTimes("[red]ramp", 0, SECOND, ()),), 1)
    screen.second(1)
    assert "broker: [bold]broker[/]" in screen.drawn[0]
    assert "[red]ramp" in screen.drawn[-1]


def test_a_warning_is_called_one() -> None:
    screen = Screen(terminal=False)
    screen.view.warning("one endpoint is dead")
    assert screen.text == "warning: one endpoint is dead\n"


def test_an_interruption_is_told_at_once() -> None:
    screen = Screen(terminal=False)
    screen.view.stopping()
    assert "interrupted" in screen.text
    assert "Ctrl-C again" in screen.text


def test_it_may_be_closed_at_any_time() -> None:
    screen = Screen(terminal=True)
    screen.view.close()
    screen.view.close()
    assert screen.text == ""


def test_an_observers_second_has_no_devices_and_says_nothing() -> None:
    screen = Screen(terminal=False)
    screen.view.started(STAGES, 1)
    heard = Snapshot(-1, "", 0, SECOND, {}, {}, {}, cpu=0, rss=0)
    screen.view.measured(heard, screen.totals)
    assert screen.text == ""
