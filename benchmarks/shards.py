"""What it costs to share a run out: CPU per connect and per message in Dask workers against one inline shard.

Each shard has the same to do, so that two have twice the load of one: what a message costs depends on how
many a loop has. Each round runs inline, one worker, two and four, in another order each time, so that the
machine's mood falls on all of them; a ratio is the median of the rounds' ratios. The CPU is that of the
shards' processes, with all that Dask does in them. Prints how long two workers take to be there, and what a
snapshot costs a shard, too.

    python shards.py [ROUNDS]
"""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import uvloop
from rich.console import Console
from rig import BrokenBenchmarkError

from simulator.clock import MILLISECOND, SECOND
from simulator.engine.clusters import LocalWorkers
from simulator.engine.coordinator import Coordinator
from simulator.engine.workers import Workers
from simulator.metrics.recorder import Recorder
from simulator.metrics.sample import Phase
from simulator.report.folder import INTERVALS
from simulator.report.interval import from_json
from simulator.report.progress import ProgressView
from simulator.scenario.loader import load

if TYPE_CHECKING:
    from simulator.engine.crew import Crew
    from simulator.report.figures import Report

DEVICES, CONNECTS, MESSAGES, SECONDS = 300, 75, 500, 6
"""Of each shard: how many, how many a second, and for how long."""

SCENARIO = """\
title = "So much for each shard"
[broker]
kind = "mosquitto"
[fleet.bench]
devices = {devices}
keepalive = "10m"
[fleet.bench.telemetry]
topic = "fleet/{{device}}/telemetry"
every = "1h"
payload = {{ size = 256 }}
[[stage]]
name = "ramp"
connect = {{ fleet = "bench", rate = "{connects}/s" }}
[[stage]]
name = "rest"
duration = "1s"
[[stage]]
name = "steady"
duration = "{seconds}s"
publish = {{ fleet = "bench", rate = "{messages}/s", qos = 1 }}
[limits]
lag = "10s"
"""
SHARDS = (0, 1, 2, 4)
"""0 stands for the inline shard."""


@dataclass(frozen=True)
class Round:
    """What one run came to: CPU microseconds, and publish service times in microseconds."""

    connect: float
    message: float
    p50: int
    p99: int


def one_run(shards: int) -> Round:
    """Run the scenario once."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.toml"
        times = max(shards, 1)
        path.write_text(
            SCENARIO.format(
                devices=times * DEVICES, connects=times * CONNECTS, messages=times * MESSAGES, seconds=SECONDS
            )
        )
        crew: Crew | None = Workers(LocalWorkers(shards)) if shards else None
        view = ProgressView(Console(quiet=True))
        with Coordinator(load(path), Path(folder) / "run", view, crew=crew) as coordinator:
            report = uvloop.run(coordinator.run())
        cpu: Counter[str] = Counter()
        for line in (Path(folder) / "run" / INTERVALS).read_text().splitlines():
            interval = from_json(line)
            cpu[interval.stage] += interval.cpu
    if report.failures or len(report.generator.shards) != max(shards, 1):
        raise BrokenBenchmarkError(f"with {shards} shards: {report.reason} {report.failures[:1]}")
    return Round(
        connect=cpu["ramp"] / (times * DEVICES) / 1000,
        message=cpu["steady"] / (times * MESSAGES * SECONDS) / 1000,
        **percentiles(report),
    )


def percentiles(report: Report) -> dict[str, int]:
    (fleet,) = report.fleets
    (publish,) = [each.service for each in fleet.phases if each.phase is Phase.PUBLISH]
    if publish is None:
        raise BrokenBenchmarkError("nothing was published")
    return {"p50": publish.p50, "p99": publish.p99}


async def start_of_two() -> float:
    """Return the seconds that two workers take to be there, in a process that has started none before."""
    began = time.monotonic()
    async with Workers(LocalWorkers(2)):
        return time.monotonic() - began


def start_afresh() -> float:
    """Return what ``start_of_two`` comes to in a process of its own."""
    ended = subprocess.run([sys.executable, __file__, "start"], check=True, stdout=subprocess.PIPE, text=True)
    return float(ended.stdout)


def snapshot_share() -> float:
    """Return the share of one core that a snapshot a second takes of a shard with 2,000 messages a second."""
    recorder = Recorder(shard=0, origin=0, on_failure=lambda _: None)
    recorder.stage = "steady"
    spent = 0
    for second in range(50):
        for number in range(2_000):
            at = second * SECOND + number * SECOND // 2_000
            for phase in (Phase.PUBLISH, Phase.DELIVER):
                recorder.series("bench", phase).ok.append((at, at + number, at + number * 7 + MILLISECOND))
        recorder.fold()
        began = time.thread_time_ns()
        pickle.dumps(
            recorder.snapshot((second + 1) * SECOND, devices={"bench": {}}, cpu=0, rss=0), protocol=5
        )
        spent += time.thread_time_ns() - began
    return spent / 50 / SECOND


def main() -> None:
    if sys.argv[1:] == ["start"]:
        print(uvloop.run(start_of_two()))
        return
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    results: dict[int, list[Round]] = {shards: [] for shards in SHARDS}
    for number in range(rounds):
        turn = SHARDS[number % len(SHARDS) :] + SHARDS[: number % len(SHARDS)]
        for shards in turn:
            results[shards].append(one_run(shards))
            print(f"{shards or 'inline'}: {results[shards][-1]}", file=sys.stderr, flush=True)
    figures: dict[str, float] = {
        "connect_cpu_inline_us": round(median(each.connect for each in results[0]), 1),
        "message_cpu_inline_us": round(median(each.message for each in results[0]), 1),
    }
    for shards in SHARDS[1:]:
        pairs = list(zip(results[shards], results[0], strict=True))
        for name in ("connect", "message", "p50", "p99"):
            ratio = median(getattr(shared, name) / getattr(inline, name) for shared, inline in pairs)
            figures[f"{name}_{shards}_to_inline"] = round(ratio, 2)
    figures["start_two_workers_s"] = round(median(start_afresh() for _ in range(5)), 2)
    figures["snapshot_cpu_share"] = round(snapshot_share(), 4)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
