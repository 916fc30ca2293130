from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from simulator.errors import RunFolderError
from simulator.report.run import RunStatus
from simulator.report.saved import read
from tests.report.example import play

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    play(tmp_path / "run", seconds=3).close(RunStatus.COMPLETE)
    return tmp_path / "run"


def change_run(path: Path, change: Callable[[dict[str, object]], object]) -> None:
    document = json.loads((path / "run.json").read_text())
    change(document)
    (path / "run.json").write_text(json.dumps(document))


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"is not a run folder: it has no run\.json; give the folder"):
        read(tmp_path)


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="is not a run folder"):
        read(tmp_path / "nowhere")


def test_a_file_instead_of_a_folder(saved: Path) -> None:
    with pytest.raises(RunFolderError, match="is not a run folder"):
        read(saved / "report.json")


def test_a_newer_format(saved: Path) -> None:
    change_run(saved, lambda document: document.update(format=2, stages="told in another way"))
    with pytest.raises(RunFolderError, match="written by a newer simulator; update this one"):
        read(saved)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("{", "the file"),
        ("[]", "the file"),
        ('{"format": "one"}', "scenario"),
    ],
)
def test_a_damaged_run(saved: Path, text: str, where: str) -> None:
    (saved / "run.json").write_text(text)
    with pytest.raises(RunFolderError, match=rf"run\.json is damaged: {where}: "):
        read(saved)


def test_a_wrong_value_in_a_run_is_named(saved: Path) -> None:
    change_run(saved, lambda document: document.update(seed="seven"))
    with pytest.raises(RunFolderError, match=r"run\.json is damaged: seed: Input should be"):
        read(saved)


@pytest.mark.parametrize("name", ["histograms.hlog", "intervals.jsonl", "failures.jsonl"])
def test_a_missing_file(saved: Path, name: str) -> None:
    (saved / name).unlink()
    with pytest.raises(RunFolderError, match=f"is not complete: {name} is missing"):
        read(saved)


@pytest.mark.parametrize("name", ["run.json", "intervals.jsonl"])
def test_a_file_that_cannot_be_read(saved: Path, name: str) -> None:
    (saved / name).unlink()
    (saved / name).mkdir()
    with pytest.raises(RunFolderError, match=f"cannot read .*{name}: Is a directory"):
        read(saved)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("histograms.hlog", "Tag=core2.publish.response,0,1,2"),
        ("histograms.hlog", "Tag=core2.tea.response,0,1,2,HISTFAAA"),
        ("histograms.hlog", "Tag=core2.publish.response,0,1,2,HISTFAAA"),
        ("intervals.jsonl", "[]"),
        ("intervals.jsonl", '{"shard": 0}'),
        ("failures.jsonl", "{}"),
    ],
)
def test_a_damaged_line_is_named(saved: Path, name: str, line: str) -> None:
    with (saved / name).open("a") as file:
        file.write(line + "\n")
    count = len((saved / name).read_text().splitlines())
    with pytest.raises(RunFolderError, match=f"{name}, line {count}, is damaged: "):
        read(saved)
