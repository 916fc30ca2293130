from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from simulator.cli.verbs import command_line
from simulator.scenario.loader import load
from simulator.scenario.shipped import shipped
from simulator.timetable import timetable
from tests.support.command import simulator

if TYPE_CHECKING:
    from pathlib import Path

SHIPPED = {
    "quickstart",
    "connect-storm",
    "steady-telemetry",
    "reconnect-after-outage",
    "resumption",
    "revocation",
    "soak",
    "end-to-end",
    "nineteen-thousand",
    "sixty-thousand",
}


@pytest.mark.parametrize("columns", ["80", "160"])
def test_each_is_listed_with_its_title(columns: str) -> None:
    result = CliRunner(env={"COLUMNS": columns}).invoke(command_line("scenarios"), ["scenarios"])
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    said_below = (" ", "Run", "Print", "Those")
    assert {line.split()[0] for line in lines if line and not line.startswith(said_below)} == SHIPPED
    assert max(map(len, lines)) <= int(columns)
    words = " ".join(result.stdout.split())
    assert all(scenario.title.split()[-1] in words for scenario in shipped())
    assert words.count("(mosquitto)") == 7


def test_one_is_printed_to_be_copied() -> None:
    result = CliRunner().invoke(command_line("scenarios"), ["scenarios", "quickstart"])
    (shipped_file,) = [each.path for each in shipped() if each.name == "quickstart"]
    assert result.stdout == shipped_file.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_each_loads_by_its_name_and_has_a_timetable_and_thresholds(name: str) -> None:
    scenario = load(name).scenario
    stages = timetable(scenario)
    assert stages[-1].end > 0
    assert any(stage.actions for stage in stages)
    assert scenario.thresholds


def test_the_quickstart_runs_by_its_name_from_any_folder(tmp_path: Path) -> None:
    shrunk = ("fleet.core2.devices=20", 'stage.steady.duration="500ms"', 'stage.calm.duration="500ms"')
    options = [part for change in shrunk for part in ("--set", change)]
    within = ("--set", 'stage.storm.reconnect.within="200ms"')
    ended = simulator("run", "quickstart", *options, *within, folder=tmp_path)
    assert ended.code == 0, ended
    assert "All 5 thresholds are met." in ended.out
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.endswith("-quickstart")
