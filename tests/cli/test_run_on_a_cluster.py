"""``simulator run --cluster``, against a scheduler and workers that are processes of their own."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from simulator.identity.cluster_folder import export_cluster
from simulator.identity.store import FleetStore
from simulator.report.conclusion import Conclusion
from simulator.report.saved import read
from simulator.report.summary import summarize
from tests.cli.test_cluster import free_port, held, holds, scheduler, variables, wait_for_two, workers
from tests.engine.test_observe import SCENARIO as OBSERVED
from tests.support.command import LONG, SMALL, Running, gone, simulator

if TYPE_CHECKING:
    from pathlib import Path

    from simulator.report.figures import Report

SHIFTED = ("unshare", "--time", "--monotonic", "1000", "--fork")


def may_shift_clocks() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*SHIFTED, "true"], capture_output=True, check=False).returncode == 0


MEMORY = pytest.mark.skipif(
    sys.platform != "linux", reason="looks into the memory of processes, as Linux has it"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "small.toml").write_text(SMALL)
    (tmp_path / "temporary").mkdir()
    export_cluster(tmp_path / "ours")
    return tmp_path


def on_cluster(port: int, *options: str) -> list[str]:
    address = f"tls://127.0.0.1:{port}"
    certificates = ("--cluster-certificates", "ours/client")
    return ["run", "small.toml", "--cluster", address, *certificates, "--out", "results", *options]


def report_of(folder: Path) -> Report:
    return summarize(read(folder / "results"))


@MEMORY
def test_a_key_is_in_the_memory_of_the_worker_that_needs_it_and_nowhere_else(folder: Path) -> None:
    port = free_port()
    store = ("--set", 'fleet.core2.store="keys.fleet"', *LONG)
    with (
        scheduler(folder, port) as first,
        workers(folder, f"tls://127.0.0.1:{port}", "--processes", "2") as two,
    ):
        wait_for_two(two)
        servers = [first.process.pid, *(worker.pid for (worker,) in held(two))]
        with Running(on_cluster(port, *store), folder) as running:
            running.wait_for("steady")
            with FleetStore.open(folder / "keys.fleet") as fleet:
                keys = [credential.key for _, credential in fleet.credentials()]
            holders = [[server for server in servers if holds(server, key)] for key in keys]
            on_disk = [path for path in (folder / "temporary").rglob("*") if path.is_file()]
            written = [path for path in on_disk if any(key in path.read_bytes() for key in keys)]
            running.signal(signal.SIGINT)
            ended = running.end()
    assert ended.code == 130
    assert written == []
    one, other = holders[0], holders[1]
    assert {*one, *other} == set(servers[1:])
    assert holders == [one, other] * 5
    assert report_of(folder).failures == ()


def test_a_scheduler_that_dies_ends_the_run_with_what_was_measured(folder: Path) -> None:
    port = free_port()
    with scheduler(folder, port) as first, workers(folder, f"tls://127.0.0.1:{port}") as only:
        only.out.wait_for("worker at")
        with Running(on_cluster(port, *LONG), folder) as running:
            running.wait_for("steady")
            first.signal(signal.SIGKILL)
            ended = running.end()
    assert ended.code == 3
    report = report_of(folder)
    assert report.conclusion is Conclusion.INCOMPLETE
    assert report.reason.startswith("Shard 0 of 1 was lost after ")
    assert "10 of 10 devices went with it" in report.reason
    assert "Traceback" not in ended.err


def test_a_worker_of_another_version_is_told_apart(folder: Path) -> None:
    port, address = free_port(), "tls://127.0.0.1:"
    other = folder / "other" / "mqtt_fleet_simulator-9.9.9.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: mqtt-fleet-simulator\nVersion: 9.9.9\n")
    environment = variables(folder)
    environment["PYTHONPATH"] = f"{folder / 'other'}:{environment['PYTHONPATH']}"
    command = ("cluster", "worker", f"{address}{port}", "--certificates", "ours/worker")
    with scheduler(folder, port) as first, Running(command, folder, variables=environment) as only:
        first.out.wait_for("scheduler at")
        only.out.wait_for("worker at")
        ended = simulator(*on_cluster(port), folder=folder)
    assert ended.code == 2
    assert "has simulator 9.9.9, and this machine has 0.1.0: install the same version everywhere" in ended.err
    assert not (folder / "results").exists()


def test_no_scheduler_is_one_sentence(folder: Path) -> None:
    ended = simulator(*on_cluster(free_port()), folder=folder)
    assert ended.code == 2
    assert ended.err.splitlines()[-1].startswith("error: the scheduler at tls://127.0.0.1:")
    assert "Traceback" not in ended.err


def test_a_run_that_is_killed_leaves_the_workers_to_the_next(folder: Path) -> None:
    port = free_port()
    with scheduler(folder, port), workers(folder, f"tls://127.0.0.1:{port}") as only:
        only.out.wait_for("worker at")
        with Running(on_cluster(port, *LONG), folder) as running:
            running.wait_for("steady")
            children = running.children()
            running.signal(signal.SIGKILL)
            running.end()
        assert gone(children)
        ended = simulator(*on_cluster(port, "--out", "again"), folder=folder)
        while "is busy with another run" in ended.err:
            ended = simulator(*on_cluster(port, "--out", "again"), folder=folder)
    assert ended.code == 0, ended


@pytest.mark.skipif(not may_shift_clocks(), reason="needs a time namespace of Linux: root, and unshare")
def test_machines_whose_clocks_differ_run_the_same_run(folder: Path) -> None:
    """One worker's monotonic clock is 1,000 s ahead: its load is on time, and what it sends is recognised."""
    (folder / "small.toml").write_text(OBSERVED)
    port = free_port()
    command = ("cluster", "worker", f"tls://127.0.0.1:{port}", "--certificates", "ours/worker")
    environment = variables(folder)
    with (
        scheduler(folder, port) as first,
        Running(command, folder, variables=environment) as here,
        Running(command, folder, variables=environment, through=(*SHIFTED, "--kill-child")) as there,
    ):
        first.out.wait_for("scheduler at")
        for worker in (here, there):
            worker.out.wait_for("worker at")
        ended = simulator(*on_cluster(port), folder=folder)
    assert ended.code == 0, ended
    report = report_of(folder)
    assert len(report.generator.shards) == 2
    for shard in report.generator.shards:
        assert shard.lag is not None
        assert shard.lag.max < 2_000_000
    assert report.observer is not None
    assert report.observer.strangers == 0
    assert all(way.sent == way.delivered > 0 for fleet in report.fleets for way in fleet.deliveries)
