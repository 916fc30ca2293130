from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import simulator
from simulator.scenario.kinds import BrokerKind
from simulator.scenario.loader import load
from simulator.scenario.shipped import shipped

NAMES = [
    "connect-storm",
    "end-to-end",
    "nineteen-thousand",
    "quickstart",
    "reconnect-after-outage",
    "resumption",
    "revocation",
    "sixty-thousand",
    "soak",
    "steady-telemetry",
]
SOURCE = Path(simulator.__file__).parent


def test_every_scenario_ships_with_one_line_that_says_what_it_shows() -> None:
    assert [each.name for each in shipped()] == NAMES
    assert all(each.title and "\n" not in each.title for each in shipped())


@pytest.mark.parametrize("name", NAMES)
def test_each_loads_by_its_name_from_any_folder(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    loaded = load(name)
    assert loaded.name == name
    assert loaded.text == loaded.path.read_text(encoding="utf-8")
    assert loaded.scenario.thresholds


def test_the_first_run_needs_nothing_to_be_installed() -> None:
    assert load("quickstart").scenario.broker.kind is BrokerKind.EMBEDDED


def test_an_installed_package_finds_the_copies_beside_it(tmp_path: Path) -> None:
    package = tmp_path / "simulator"
    shutil.copytree(SOURCE, package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "scenarios").mkdir()
    (package / "scenarios" / "mine.toml").write_text('title = "Mine"\n', encoding="utf-8")
    program = "from simulator.scenario.shipped import shipped; print(*shipped()[0][:2])"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "mine Mine\n"
