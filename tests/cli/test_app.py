from __future__ import annotations

import signal
import subprocess
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest
import typer
from typer.testing import CliRunner

from simulator.cli.app import main
from simulator.cli.usage import usage_error
from simulator.cli.verbs import command_line, execute
from simulator.errors import BrokerUnreachableError
from tests.support.command import Running, simulator

if TYPE_CHECKING:
    from pathlib import Path

VERBS = [
    (),
    ("run",),
    ("report",),
    ("scenarios",),
    ("fleet",),
    *(("fleet", verb) for verb in ("create", "show", "list", "export", "import")),
    ("broker",),
    ("broker", "start"),
    ("cluster",),
    *(("cluster", verb) for verb in ("certificates", "scheduler", "worker")),
]


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_every_verb_explains_itself_within_80_columns(verb: tuple[str, ...], option: str) -> None:
    result = CliRunner(env={"COLUMNS": "80"}).invoke(command_line(), [*verb, option])
    assert result.exit_code == 0
    assert "Usage:" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_the_exit_codes_are_in_the_help() -> None:
    help_text = " ".join(CliRunner(env={"COLUMNS": "200"}).invoke(command_line(), ["--help"]).stdout.split())
    for code in ("0 all", "1 a threshold", "2 wrong", "3 the run", "4 broker", "130 interrupted"):
        assert code in help_text


def test_the_version(tmp_path: Path) -> None:
    ended = simulator("--version", folder=tmp_path)
    assert (ended.code, ended.out) == (0, f"simulator {version('mqtt-fleet-simulator')}\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nonsense"], "there is no command nonsense; see `simulator --help`"),
        (["runn"], 'there is no command runn; did you mean "run"? See `simulator --help`'),
        (["run"], "SCENARIO is missing; see `simulator run --help`"),
        (["run", "quickstart", "--xyz"], "there is no option --xyz; see `simulator run --help`"),
        (
            ["run", "quickstart", "--see"],
            'there is no option --see; did you mean "--seed" or "--set"? See `simulator run --help`',
        ),
        (["run", "quickstart", "--seed"], "--seed needs a value; see `simulator --help`"),
        (
            ["run", "quickstart", "--seed", "many"],
            '--seed: expected a whole number, not "many"; see `simulator run --help`',
        ),
        (["run", "quickstart", "soak"], "soak is too much; see `simulator run --help`"),
        (["report"], "RUN is missing; see `simulator report --help`"),
        (["fleet", "create", "x"], "the option --devices is missing; see `simulator fleet create --help`"),
        (
            ["fleet", "create", "x", "--devices", "0"],
            '--devices: expected 1 or more, not "0"; see `simulator fleet create --help`',
        ),
        (
            ["fleet", "list", "x", "--status", "activ"],
            '--status: expected "active", "superseded" or "revoked", not "activ"; did you mean "active"?'
            " See `simulator fleet list --help`",
        ),
    ],
)
def test_wrong_usage_is_one_sentence_and_ends_with_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    monkeypatch.setattr("sys.argv", ["simulator", *arguments])
    assert execute() == 2
    assert capsys.readouterr() == ("", f"error: {said}\n")


def test_what_typer_says_else_stands_as_it_is() -> None:
    assert str(usage_error(typer.BadParameter("Nobody expected this."))) == (
        "invalid value: Nobody expected this; see `simulator --help`"
    )


@pytest.mark.parametrize("group", [[], ["fleet"], ["broker"]])
def test_without_a_verb_it_shows_its_help_and_ends_with_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], group: list[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["simulator", *group])
    assert execute() == 2
    shown = capsys.readouterr()
    assert "Commands" in shown.out
    assert shown.err == ""


def test_an_error_of_ours_is_a_line_for_each_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "wrong.toml").write_text('title = "Wrong"\nsede = 1\n[fleet.a]\ndevices = 0\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["simulator", "run", "wrong.toml"])
    assert execute() == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) >= 3
    assert all(line.startswith("error: wrong.toml:") for line in lines)
    assert any("sede" in line and "seed" in line for line in lines)


def test_the_exit_code_is_that_of_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "sys.argv",
        ["simulator", "run", "quickstart", "--broker", "127.0.0.1:1", "--set", "fleet.core2.devices=1"],
    )
    assert execute() == BrokerUnreachableError.exit_code == 4
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert "127.0.0.1:1" in line


def test_a_verb_imports_what_it_needs_and_not_what_others_need(tmp_path: Path) -> None:
    with Running(["fleet", "--help"], tmp_path, python=["-X", "importtime"]) as running:
        imported = running.end().err
    assert " simulator.identity.store\n" in imported
    assert " simulator.shard\n" not in imported


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_during_the_imports_ends_with_130_and_without_a_word(
    tmp_path: Path, number: signal.Signals
) -> None:
    with Running(["scenarios"], tmp_path, python=["-X", "importtime"]) as running:
        running.wait_for(" typer.main")
        running.signal(number)
        ended = running.end()
    assert ended.code == 130
    assert ended.out == ""
    assert [line for line in ended.err.splitlines() if not line.startswith("import time:")] == []


INTERRUPTED_UNSEEN = """
import signal, sys, weakref

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            lock = Finder()
            weakref.finalize(lock, signal.raise_signal, signal.{number})
            del lock

sys.meta_path.insert(0, Finder())
sys.argv = ["simulator", "--version"]
from simulator.cli.app import main
main()
"""
"""The interrupt comes in a callback of the garbage collector, as those of import locks are."""


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
def test_ctrl_c_during_the_imports_cannot_be_swallowed(number: str) -> None:
    program = INTERRUPTED_UNSEEN.format(number=number)
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


def test_a_bug_is_not_taken_for_a_broken_threshold(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("simulator.cli.verbs.execute", lambda _: 1 // 0)
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as ended:
            main()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert ended.value.code == 70
    assert "ZeroDivisionError" in capsys.readouterr().err
