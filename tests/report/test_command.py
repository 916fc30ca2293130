from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import typer
from typer.testing import CliRunner

from simulator.cli.report import report
from simulator.errors import RunFolderError
from simulator.report.run import RunStatus
from tests.report.example import play

if TYPE_CHECKING:
    from pathlib import Path

app = typer.Typer()
app.command()(report)


def test_the_text_is_printed_and_the_exit_code_is_that_of_the_run(tmp_path: Path) -> None:
    play(tmp_path).close(RunStatus.INTERRUPTED)
    result = CliRunner().invoke(app, [str(tmp_path)])
    assert result.exit_code == 130
    assert "Interrupted." in result.stdout
    assert "core2, ms" in result.stdout


def test_json_is_what_the_run_saved(tmp_path: Path) -> None:
    play(tmp_path).close(RunStatus.COMPLETE)
    result = CliRunner().invoke(app, [str(tmp_path), "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout) == json.loads((tmp_path / "report.json").read_text())


def test_a_folder_that_is_no_run_is_left_to_the_caller_as_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="is not a run folder"):
        CliRunner().invoke(app, [str(tmp_path)], catch_exceptions=False)
