"""Runs whose shards are in workers: the same load, the same figures, and an end however workers end."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import distributed
import psutil
import pytest

from simulator.clock import MILLISECOND, SECOND, now
from simulator.engine import outpost, workers
from simulator.engine.clusters import LocalWorkers
from simulator.engine.coordinator import Coordinator
from simulator.engine.outpost import Outpost
from simulator.engine.workers import Workers
from simulator.errors import UsageError, WorkerError
from simulator.metrics.threshold import Status
from simulator.report.conclusion import Conclusion
from simulator.report.figures import Connected
from simulator.report.saved import read
from simulator.report.summary import summarize
from tests.engine.clusters import cluster_here
from tests.engine.scenarios import small
from tests.engine.test_observe import SCENARIO as OBSERVED
from tests.engine.watching import Witness
from tests.support.offspring import children

if TYPE_CHECKING:
    from pathlib import Path

    from simulator.engine.crew import Crew
    from simulator.engine.workers import Member
    from simulator.report.figures import Report
    from simulator.scenario.loader import LoadedScenario


async def run(
    loaded: LoadedScenario, out: Path, crew: Crew | None = None, witness: Witness | None = None
) -> Report:
    with Coordinator(loaded, out, witness or Witness(), crew=crew) as coordinator:
        return await coordinator.run()


def counts_of(report: Report) -> dict[str, object]:
    """Return all that two runs of one seed have in common, whatever the broker's pace."""
    return {
        fleet.fleet: [(each.of, each.due - each.retries) for each in fleet.arrivals]
        for fleet in report.fleets
    }


async def test_the_union_of_shards_is_the_load_of_one(tmp_path: Path) -> None:
    alone = await run(small(tmp_path), tmp_path / "alone")
    async with cluster_here(3) as cluster:
        shared = await run(small(tmp_path), tmp_path / "shared", Workers(cluster))
    assert shared.conclusion is alone.conclusion is Conclusion.MET, shared.reason
    assert counts_of(shared) == counts_of(alone)
    assert [shard.devices for shard in shared.generator.shards] == [4, 3, 3]
    assert summarize(read(tmp_path / "shared")) == shared


async def test_what_devices_elsewhere_send_and_are_told_is_all_heard(tmp_path: Path) -> None:
    async with cluster_here(2) as cluster:
        report = await run(small(tmp_path, text=OBSERVED), tmp_path / "run", Workers(cluster))
    assert report.conclusion is Conclusion.MET, report.reason
    assert report.observer is not None
    assert report.observer.strangers == 0
    for fleet in report.fleets:
        for way in fleet.deliveries:
            assert way.sent == way.delivered > 0


async def test_a_worker_that_is_killed_is_an_event_and_the_rest_goes_on(tmp_path: Path) -> None:
    crew = Workers(LocalWorkers(2))
    witness = Witness(connected=lambda: os.kill(process_of(crew, 1), signal.SIGKILL))
    loaded = small(tmp_path, 'stage.steady.duration="3s"')
    report = await run(loaded, tmp_path / "run", crew, witness)
    assert (report.conclusion, report.exit_code) == (Conclusion.INCOMPLETE, 3)
    assert report.reason.startswith("Shard 1 of 2 was lost after ")
    assert report.reason.endswith(
        "ended, or cannot be reached any more. 5 of 10 devices went with it; the rest went on."
    )
    kept, lost = report.generator.shards
    assert kept.lost is None
    assert lost.lost is not None
    assert report.stages[-1].reached_end
    assert report.stages[-1].connected["core2"] == Connected(5, 10)
    assert {each.measure: each.status for each in report.thresholds}["connected"] is Status.BROKEN
    assert [(shard, shards) for shard, shards, _ in witness.losses] == [(1, 2)]
    assert not left_behind()


async def test_all_workers_killed_the_run_ends(tmp_path: Path) -> None:
    crew = Workers(LocalWorkers(1))
    witness = Witness(connected=lambda: os.kill(process_of(crew, 0), signal.SIGKILL))
    report = await run(small(tmp_path, 'stage.steady.duration="60s"'), tmp_path / "run", crew, witness)
    assert report.conclusion is Conclusion.INCOMPLETE
    assert report.seconds < 30


async def test_a_worker_that_does_not_answer_any_more_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "PATIENCE", 2.5)
    crew = Workers(LocalWorkers(2))
    frozen: list[int] = []

    def freeze() -> None:
        frozen.append(process_of(crew, 0))
        os.kill(frozen[0], signal.SIGSTOP)

    loaded = small(tmp_path, 'stage.steady.duration="3s"')
    report = await run(loaded, tmp_path / "run", crew, Witness(connected=freeze))
    assert report.conclusion is Conclusion.INCOMPLETE
    assert "does not answer" in report.reason
    assert not psutil.pid_exists(frozen[0])


async def test_too_few_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "PATIENCE", 0.5)
    async with cluster_here(1) as cluster:
        cluster.wanted = 2
        with pytest.raises(
            WorkerError, match=r"has 1 of 2 workers: start more with `simulator cluster worker tls://"
        ):
            await run(small(tmp_path), tmp_path / "run", Workers(cluster))
    assert not (tmp_path / "run").exists()


async def test_a_worker_that_never_gets_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(_: Outpost) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(workers, "READY", 1)
    monkeypatch.setattr(Outpost, "introduce", never)
    async with cluster_here(1) as cluster:
        with pytest.raises(WorkerError, match="did not get ready within 1 seconds: restart it"):
            await run(small(tmp_path), tmp_path / "run", Workers(cluster))


async def test_a_mistake_that_a_worker_finds_is_told_as_one_of_ours(tmp_path: Path) -> None:
    async with cluster_here(1) as cluster:
        loaded = small(tmp_path, 'fleet.core2.ciphers=["NONSENSE"]', 'fleet.core2.tls="1.2"')
        with pytest.raises(UsageError, match="NONSENSE"):
            await run(loaded, tmp_path / "run", Workers(cluster))


async def test_a_clock_that_is_ahead_is_told_from_ours() -> None:
    """Half the round trip is all that can be wrong: here the way there takes 40 ms once, 1 ms mostly."""
    delays = iter([0.04, *[0.001] * 20])

    async def theirs() -> int:
        await asyncio.sleep(next(delays))
        return now() + 5 * SECOND

    assert abs(await workers.clock_ahead(theirs) - 5 * SECOND) < 15 * MILLISECOND


async def test_a_worker_that_may_write_keys_to_disk_gets_none(tmp_path: Path) -> None:
    async with cluster_here(1, {"distributed.worker.memory.spill": 0.7}, memory_limit="1GB") as cluster:
        with pytest.raises(WorkerError, match=r"may write what it holds to disk.*--memory-limit 0"):
            await run(small(tmp_path), tmp_path / "run", Workers(cluster))


async def test_a_worker_serves_one_run_at_a_time(tmp_path: Path) -> None:
    async with cluster_here(1) as cluster:
        started = asyncio.Event()
        loaded = small(tmp_path, 'stage.steady.duration="60s"')
        with Coordinator(
            loaded, tmp_path / "first", Witness(connected=started.set), crew=Workers(cluster)
        ) as first:
            running = asyncio.create_task(first.run())
            await started.wait()
            with pytest.raises(WorkerError, match="is busy with another run"):
                await run(small(tmp_path), tmp_path / "second", Workers(cluster))
            first.stop()
            assert (await running).conclusion is Conclusion.INTERRUPTED
        report = await run(small(tmp_path), tmp_path / "third", Workers(cluster))
    assert report.conclusion is Conclusion.MET


async def test_a_shard_stops_by_itself_when_its_coordinator_is_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outpost, "FORSAKEN", 0.5)

    begun = asyncio.Event()
    ask = Workers._ask

    async def silent(self: Workers, member: Member, patience: float, what: str, *arguments: object) -> object:
        if what == "dispatch":
            await asyncio.Event().wait()
        answer = await ask(self, member, patience, what, *arguments)
        if what == "begin":
            begun.set()
        return answer

    monkeypatch.setattr(Workers, "_ask", silent)
    loaded = small(tmp_path, 'stage.steady.duration="60s"')
    async with cluster_here(1) as cluster:
        with Coordinator(loaded, tmp_path / "run", Witness(), crew=Workers(cluster)) as coordinator:
            running = asyncio.create_task(coordinator.run())
            await begun.wait()
            (work,) = works_here()
            await asyncio.wait_for(work, timeout=30)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running


def works_here() -> list[asyncio.Task[None]]:
    """Return what the outposts of the workers in this process do."""
    actors = [actor for worker in distributed.Worker._instances for actor in worker.state.actors.values()]
    return [actor._work for actor in actors if isinstance(actor, Outpost) and actor._work is not None]


def left_behind() -> list[str]:
    """Return the processes that the test has started, but for those that Python keeps until its own end."""
    commands = [" ".join(child.cmdline()) for child in children()]
    kept = ("resource_tracker", "forkserver")
    return [command for command in commands if not any(name in command for name in kept)]


def process_of(crew: Workers, shard: int) -> int:
    return int(crew.hosts[shard].partition("(")[2].rstrip(")"))
