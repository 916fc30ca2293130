"""The command ``simulator`` as its user starts it: a process of its own, what it says, and how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
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
duration = "1s"
[[stage]]
name = "storm"
reconnect = { fleet = "core2", share = 0.5, within = "100ms" }
[[stage]]
name = "calm"
duration = "400ms"
[limits]
lag = "10s" # a busy test machine must not make the run not count
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
    """A command that runs; leaving the block kills it if it has not ended by then.

    What it says must fit into a pipe (64 KiB): it is read when the test asks for it. ``variables`` are added
    to its environment; ``alone`` gives it a process group of its own, as a shell does, and
    ``through`` is a program that starts it.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        folder: Path,
        python: Sequence[str] = (),
        variables: Mapping[str, str] | None = None,
        *,
        alone: bool = False,
        through: Sequence[str] = (),
    ) -> None:
        command = [*through, COMMAND[0], *python, *COMMAND[1:], *arguments]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env={**environment(), **(variables or {})},
            stdout=pipe,
            stderr=pipe,
            text=True,
            start_new_session=alone,
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.out, self.err = Stream(self.process.stdout), Stream(self.process.stderr)

    def __enter__(self) -> Running:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        self.err.close()
        self.out.close()

    def wait_for(self, words: str) -> None:
        """Return when a line on stderr holds ``words``."""
        self.err.wait_for(words)

    def children(self) -> list[psutil.Process]:
        """Return the processes that it has started, and theirs: a broker is the last."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def interrupt_all(self) -> None:
        """Do what Ctrl-C at a terminal does, to a command that was started ``alone``."""
        os.killpg(self.process.pid, signal.SIGINT)

    def end(self) -> Ended:
        """Wait for its end."""
        err, out = self.err.rest(), self.out.rest()
        return Ended(self.process.wait(), out, err)


class Stream:
    """One of a command's outputs, read line by line and kept."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._lines: list[str] = []

    def wait_for(self, words: str) -> str:
        """Return the first line that holds ``words``, as soon as it comes."""
        for line in self._file:
            self._lines.append(line)
            if words in line:
                return line
        raise AssertionError(f"ended without {words!r}: {self._lines[-3:]}")

    def rest(self) -> str:
        """Return all of it, from the first line on, when it has ended."""
        self._lines += self._file
        return "".join(self._lines)

    def close(self) -> None:
        self._file.close()


def environment() -> dict[str, str]:
    """Return the environment without what would change the output."""
    return {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "TERM": "xterm", "SSLKEYLOGFILE": ""}


def simulator(*arguments: str, folder: Path, variables: Mapping[str, str] | None = None) -> Ended:
    """Run the command to its end in ``folder``, with ``variables`` added to its environment."""
    with Running(arguments, folder, variables=variables) as running:
        return running.end()


def gone(processes: Sequence[psutil.Process]) -> bool:
    """Tell whether all have ended, within five seconds."""
    return not psutil.wait_procs(processes, timeout=5)[1]
