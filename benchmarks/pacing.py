"""How late an arrival is on a half-busy core: the pacer, the loop's own timers, and the product itself.

1,000 arrivals a second, constant and Poisson. Each costs half a millisecond of CPU, spread as the work of a
device is: the arrival is the first of five callbacks of 0.1 ms, and each of the others comes when a socket
has become readable. (Half a millisecond in one callback would make whoever is due meanwhile wait for it,
whichever timer calls.) The pacer and a bare ``call_at`` on uvloop take turns in one process.

The product's figures are those of ``simulator run``: the lag in what the run saved, once while a thousand
devices connect and once while each of them publishes once a second.

    python benchmarks/pacing.py
"""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import tempfile
import time
from itertools import cycle, takewhile
from pathlib import Path
from random import Random
from statistics import median
from typing import TYPE_CHECKING

import uvloop
from rig import BrokenBenchmarkError

from simulator.arrival import arrivals
from simulator.clock import MICROSECOND, MILLISECOND, SECOND, now
from simulator.engine.collector import quiet_collector
from simulator.metrics.histogram import Histogram
from simulator.metrics.sample import Kind
from simulator.pacer import Pacer
from simulator.report import histogram_log, interval
from simulator.report.folder import HISTOGRAMS, INTERVALS
from simulator.scenario.kinds import ArrivalKind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

RATE = 1_000
ROUNDS, ROUND = 5, 2 * SECOND
CALLBACKS, WORK = 5, 100 * MICROSECOND
UNITS = 64
DEVICES, STEADY = 1_000, 10
SCENARIO = f"""\
title = "Lag with a thousand messages a second"
seed = 1
[broker]
kind = "mosquitto"
[fleet.bench]
devices = {DEVICES}
tls = "1.3"
telemetry = {{ topic = "fleet/{{device}}", every = "1s", qos = 1, payload = {{ size = "256B" }} }}
[[stage]]
name = "connecting"
connect = {{ fleet = "bench", rate = "250/s", arrivals = "poisson" }}
[[stage]]
name = "publishing"
duration = "{STEADY}s"
"""


class Work:
    """What arrivals cost: callbacks, woken up by a byte that says how many of them are still to come."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._pairs = [socket.socketpair() for _ in range(UNITS)]
        for ours, theirs in self._pairs:
            loop.add_reader(ours.fileno(), self._go_on, ours, theirs)
        self._next = cycle(theirs for _, theirs in self._pairs)

    def begin(self) -> None:
        """Do the first part of an arrival's work, and have the others done."""
        spend(WORK)
        next(self._next).send(bytes([CALLBACKS - 1]))

    def _go_on(self, ours: socket.socket, theirs: socket.socket) -> None:
        left = ours.recv(1)[0] - 1
        spend(WORK)
        if left:
            theirs.send(bytes([left]))

    def close(self) -> None:
        """End it."""
        for ours, theirs in self._pairs:
            self._loop.remove_reader(ours.fileno())
            ours.close()
            theirs.close()


def spend(cpu: int) -> None:
    """Use so many nanoseconds of CPU."""
    until = time.thread_time_ns() + cpu
    while time.thread_time_ns() < until:
        pass


def times(kind: ArrivalKind, seed: int) -> Iterator[int]:
    """Return the due times of one round, from a moment from now on."""
    start = now() + 50 * MILLISECOND
    offsets = arrivals(kind, RATE, Random(seed))
    return (start + offset for offset in takewhile(lambda offset: offset < ROUND, offsets))


async def by_pacer(due_times: Iterator[int], begin: Callable[[], None]) -> list[int]:
    """Return how far from its due time each arrival was called, nanoseconds."""
    off: list[int] = []
    over = asyncio.Event()
    pacer = Pacer(asyncio.get_running_loop())

    def arrive(due: int) -> int | None:
        off.append(now() - due)
        begin()
        following = next(due_times, None)
        if following is None:
            over.set()
        return following

    pacer.at(next(due_times), arrive)
    await over.wait()
    pacer.stop()
    return off


async def by_call_at(due_times: Iterator[int], begin: Callable[[], None]) -> list[int]:
    """Do the same with the loop's own timers, which may also be early."""
    off: list[int] = []
    over = asyncio.Event()
    loop = asyncio.get_running_loop()

    def arrive(due: int) -> None:
        off.append(abs(now() - due))
        begin()
        following = next(due_times, None)
        if following is None:
            over.set()
        else:
            loop.call_at(following / SECOND, arrive, following)

    first = next(due_times)
    loop.call_at(first / SECOND, arrive, first)
    await over.wait()
    return off


SIDES: dict[str, Callable[[Iterator[int], Callable[[], None]], Awaitable[list[int]]]] = {
    "pacer": by_pacer,
    "call_at": by_call_at,
}


async def modelled() -> dict[str, float]:
    """Return percentiles in milliseconds, each the median of all rounds, and how busy the core was."""
    found: dict[str, list[float]] = {}
    work = Work(asyncio.get_running_loop())
    with quiet_collector():
        for number in range(ROUNDS):
            for kind in (ArrivalKind.CONSTANT, ArrivalKind.POISSON):
                for side, called in SIDES.items():
                    cpu, wall = time.process_time_ns(), now()
                    off = await called(times(kind, number), work.begin)
                    busy = (time.process_time_ns() - cpu) / (now() - wall)
                    name = f"pacing_{kind}_{side}"
                    found.setdefault(f"{name}_p50_ms", []).append(percentile(off, 50))
                    found.setdefault(f"{name}_p99_ms", []).append(percentile(off, 99))
                    found.setdefault("pacing_busy_percent", []).append(busy * 100)
    work.close()
    return {name: round(median(figures), 3) for name, figures in found.items()}


def percentile(off: list[int], percent: int) -> float:
    """Return a percentile by nearest rank, milliseconds."""
    return sorted(off)[-(-percent * len(off) // 100) - 1] / MILLISECOND


def product() -> dict[str, float]:
    """Return percentiles of the lag of a run of the product, milliseconds, and how busy it kept a core."""
    with tempfile.TemporaryDirectory() as temporary:
        path, folder = Path(temporary) / "pacing.toml", Path(temporary) / "run"
        path.write_text(SCENARIO)
        command = [sys.executable, "-m", "simulator", "run", str(path), "--out", str(folder)]
        code = subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=sys.stderr).returncode
        if code not in {0, 3}:  # 3: it fell behind, which is what the figures say
            raise BrokenBenchmarkError(f"the run ended with exit code {code}")
        return {name: figure for stage in ("connecting", "publishing") for name, figure in lag(folder, stage)}


def lag(folder: Path, stage: str) -> Iterator[tuple[str, float]]:
    """Yield the figures of one stage."""
    lines = (folder / INTERVALS).read_text(encoding="utf-8").splitlines()
    held = [each for each in map(interval.from_json, lines) if each.stage == stage]
    start, end = held[0].start, held[-1].end
    whole = Histogram()
    with (folder / HISTOGRAMS).open(encoding="utf-8") as saved:
        for text in saved:
            line = histogram_log.parse(text)
            if line and line.kind is Kind.LAG and start <= float(text.split(",")[1]) * SECOND < end:
                whole.add(line.histogram)
    for name, percent in (("p50", 50.0), ("p99", 99.0), ("p99_9", 99.9)):
        yield f"lag_{stage}_{name}_ms", whole.percentile(percent) / 1000
    yield f"lag_{stage}_busy_percent", round(sum(each.cpu for each in held) / (end - start) * 100, 1)


if __name__ == "__main__":
    print(json.dumps(uvloop.run(modelled()) | product()))
