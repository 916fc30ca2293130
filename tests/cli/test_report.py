"""``simulator report`` as a process, on what ``simulator run`` wrote and on what it did not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from simulator.cli.verbs import execute
from tests.support.command import SMALL, simulator

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run in it."""
    path = tmp_path_factory.mktemp("report")
    (path / "small.toml").write_text(SMALL)
    ended = simulator("run", "small.toml", "--out", "run", folder=path)
    assert ended.code == 0, ended
    return path


def test_json_is_the_file_that_the_run_saved(folder: Path) -> None:
    ended = simulator("report", "run", "--json", folder=folder)
    assert ended.code == 0
    assert ended.out == (folder / "run" / "report.json").read_text()


def test_it_is_made_from_the_data_not_from_the_report(folder: Path, tmp_path: Path) -> None:
    text = simulator("report", "run", folder=folder).out
    saved = folder / "run" / "report.json"
    kept = saved.read_text()
    saved.unlink()
    assert simulator("report", "run", folder=folder).out == text
    assert not saved.exists()
    saved.write_text(kept)


def test_a_torn_last_line_is_forgiven(folder: Path, tmp_path: Path) -> None:
    torn = tmp_path / "torn"
    torn.mkdir()
    for path in (folder / "run").iterdir():
        (torn / path.name).write_bytes(path.read_bytes())
    with (torn / "failures.jsonl").open("a") as file:
        file.write('{"at": 17, "fle')
    ended = simulator("report", str(torn), "--json", folder=folder)
    assert ended.code == 0
    assert json.loads(ended.out) == json.loads((folder / "run" / "report.json").read_text())


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("nowhere", "is not a run folder"),
        (".", "is not a run folder"),
        ("small.toml", "is not a run folder"),
        ("damaged", "is damaged"),
        ("half", "is not complete"),
    ],
)
def test_nonsense_is_one_sentence_and_code_2(
    folder: Path,
    path: str,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, content in (("damaged", "{"), ("half", (folder / "run" / "run.json").read_text())):
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "run.json").write_text(content)
    monkeypatch.chdir(folder)
    monkeypatch.setattr("sys.argv", ["simulator", "report", path])
    assert execute() == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert len(err.splitlines()) == 1
