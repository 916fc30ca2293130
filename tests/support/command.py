"""The command ``simulator`` as its user starts it: a process of its own, what it says, and how it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    import signal
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

COMMAND = (sys.executable, "-m", "simulator")

SMALL = """\
title = "Ten devices for a second"
seed = 7
[broker]
kind = "embedded"
[fleet.core2]
devices = 10
[fleet.core2.telemetry]
topic = "fleet/{device}/telemetry"
every = "100ms"
qos = 1
[[stage]]
name = "ramp"
connect = { fleet = "core2", rate = "50/s" }
[[stage]]
name = "steady"
duration = "500ms"
[[stage]]
name = "storm"
reconnect = { fleet = "core2", share = 0.5, within = "100ms" }
[[stage]]
name = "calm"
duration = "400ms"
[thresholds]
"failures" = "== 0"
"connected" = "== 100%"
"""
"""A scenario that meets its thresholds in about a second."""

LONG = ("--set", 'stage.steady.duration="60s"')
"""Options that make it last, to be ended by the test."""


@dataclass(frozen=True)
class Ended:
    """How a command ended, and all that it said."""

    code: int
    out: str
    err: str


class Running:
    """A command that runs; leaving the block kills it if it has not ended by then."""

    def __init__(self, arguments: Sequence[str], folder: Path, python: Sequence[str] = ()) -> None:
        command = [COMMAND[0], *python, *COMMAND[1:], *arguments]
        pipe = subprocess.PIPE
        self._out = (folder / ".out").open("w+")
        self._said: list[str] = []
        self.process = subprocess.Popen(
            command, cwd=folder, env=environment(), stdout=self._out, stderr=pipe, text=True
        )

    def __enter__(self) -> Running:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        self._stderr.close()
        self._out.close()

    @property
    def _stderr(self) -> IO[str]:
        assert self.process.stderr is not None
        return self.process.stderr

    def wait_for(self, words: str) -> None:
        """Return when a line on stderr holds ``words``."""
        for line in self._stderr:
            self._said.append(line)
            if words in line:
                return
        raise AssertionError(f"ended without {words!r}: {self._said[-3:]}")

    def children(self) -> list[psutil.Process]:
        """Return the processes that it has started, and theirs: a broker is the last."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> Ended:
        """Wait for its end."""
        self._said += self._stderr
        code = self.process.wait()
        self._out.seek(0)
        return Ended(code, self._out.read(), "".join(self._said))


def environment() -> dict[str, str]:
    """Return the environment without what would change the look of the output."""
    return {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "TERM": "xterm"}


def simulator(*arguments: str, folder: Path) -> Ended:
    """Run the command to its end in ``folder``."""
    with Running(arguments, folder) as running:
        return running.end()


def gone(processes: Sequence[psutil.Process]) -> bool:
    """Tell whether all have ended, within five seconds."""
    return not psutil.wait_procs(processes, timeout=5)[1]
