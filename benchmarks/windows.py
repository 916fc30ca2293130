"""Sides that are measured in turn, in windows so short that what else the machine does falls on all of them.

Each side lives in a process of its own, with a broker of its own, from before the first window to after the
last. While one has its window the others wait for a line on their standard input, with their event loop
blocked: none of their timers fires, and their pacers' time stands still. A round is a window of each side,
begun by another one each time; the ratio of two sides is the median of that of the rounds.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from statistics import median, quantiles
from typing import TYPE_CHECKING

from rig import BrokenBenchmarkError

from simulator.clock import now
from simulator.engine.collector import quiet_collector
from simulator.pacer import Pacer

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Sequence


class Side:
    """The process of one side. A context manager: left, the process ends."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = [sys.executable, *command]
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def __enter__(self) -> Side:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()

    def say(self) -> str:
        """Return what the side says next."""
        line = self._process.stdout.readline() if self._process.stdout is not None else ""
        if not line:
            raise BrokenBenchmarkError(f"{' '.join(self._command)} ended too early")
        return line.strip()

    def window(self) -> float:
        """Let the side have one window, and return its figure."""
        if self._process.stdin is not None:
            self._process.stdin.write("\n")
        return float(self.say())


def compare(commands: dict[str, Sequence[str]], rounds: int) -> dict[str, list[float]]:
    """Return each side's figures, a figure a round."""
    names = list(commands)
    figures: dict[str, list[float]] = {name: [] for name in names}
    with ExitStack() as stack:
        sides = {name: stack.enter_context(Side(command)) for name, command in commands.items()}
        for side in sides.values():
            side.say()
        for number in range(rounds):
            first = number % len(names)
            for name in names[first:] + names[:first]:
                figures[name].append(sides[name].window())
    return figures


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, list[float]]:
    """Return the median of the rounds' ratios, and the two quartiles around it."""
    ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
    lower, _, upper = quantiles(ratios, n=4)
    return round(median(ratios), 2), [round(lower, 2), round(upper, 2)]


async def take(window: Callable[[], Awaitable[float]]) -> None:
    """Warm up with one window, then measure one for each line that comes, and print its figure."""
    with quiet_collector():
        await window()
        print("ready", flush=True)
        for _ in sys.stdin:
            print(await window(), flush=True)


def processors() -> list[int]:
    """Return the processors that we may use, in order."""
    return sorted(os.sched_getaffinity(0))


def stay_on(processor: int) -> None:
    """Run here, with all that is started from now on: to move between processors costs what is cached."""
    os.sched_setaffinity(0, {processor})


class InterruptedPacer(Pacer):
    """A pacer whose time can stand still: what was due in the meantime is due as much later."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._held_at: int | None = None
        self._held: list[tuple[int, int, Callable[[int], int | None]]] = []

    def hold(self) -> None:
        """Let time stand still."""
        self._held_at = now()
        self._held, self._queue = self._queue, []

    def go_on(self) -> None:
        """Let time go on, where it stands still."""
        if self._held_at is None:
            return
        pause, self._held_at = now() - self._held_at, None
        self._queue = [(due + pause, number, action) for due, number, action in self._held]
        self.at(now(), lambda _: None)  # so that it looks into its queue
