from __future__ import annotations

import json
import signal
import socket
from typing import TYPE_CHECKING

import pytest

from tests.support.command import SMALL, Running, gone, simulator

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "small.toml").write_text(SMALL)
    return tmp_path


def test_a_plan_measures_here_and_leaves_the_scenarios_broker_alone(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as theirs:
        theirs.setblocking(False)
        options = ["--broker", f"127.0.0.1:{theirs.getsockname()[1]}", "--workers", "3", "--json"]
        ended = simulator("plan", "small.toml", *options, folder=folder)
        with pytest.raises(BlockingIOError):
            theirs.accept()
    assert ended.code == 0, ended
    made = json.loads(ended.out)
    assert (made["devices"], made["connects"], made["external"]) == (10, 15, True)
    assert [each["workers"] for each in made["workers"]] == [1, 3]
    costs = {each["kind"]: each["generator"] for each in made["costs"]}
    assert costs["connect"] > made["tls_floor"] / 2 > 50
    assert costs["connect"] > costs["message"] > 0
    assert 30 * MIB < made["workers"][0]["memory"] < 300 * MIB
    assert "measuring this machine" in ended.err
    assert [path.name for path in folder.iterdir()] == ["small.toml"]


def test_devices_that_nothing_lets_in_are_no_ground_for_a_plan(folder: Path) -> None:
    ended = simulator("plan", "small.toml", "--set", 'fleet.core2.server_name="elsewhere"', folder=folder)
    assert ended.code == 2
    assert "no device of fleet core2 could connect" in ended.err
    assert "hostname_mismatch" in ended.err
    assert ended.out == ""


def test_interrupted_it_says_so_and_leaves_nothing(folder: Path) -> None:
    with Running(["plan", "small.toml"], folder) as running:
        running.wait_for("broker:")
        children = running.children()
        running.signal(signal.SIGINT)
        ended = running.end()
    assert (ended.code, ended.out) == (130, "")
    assert "Interrupted. Nothing is known yet." in ended.err
    assert gone(children)


def test_workers_are_one_or_more(folder: Path) -> None:
    ended = simulator("plan", "small.toml", "--workers", "0", folder=folder)
    assert (ended.code, ended.out) == (2, "")
    assert "--workers" in ended.err
    assert len(ended.err.splitlines()) == 1
