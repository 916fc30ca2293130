"""Passphrases as a user meets them: at a terminal, from the environment, and with neither."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from simulator.cli.fleet import app
from simulator.errors import UsageError
from simulator.identity.store import FleetStore
from simulator.identity.vault import WrongPassphraseError
from tests.support.changes import SECONDS
from tests.support.command import environment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PASSPHRASE, OTHER = "correct horse", "battery staple"

AT_TERMINAL = """
import fcntl, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from simulator.cli.app import main
main()
"""


class Terminal:
    """A command at a terminal of its own, and the person in front of it."""

    def __init__(self, words: Sequence[object]) -> None:
        self._master, slave = pty.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "-c", AT_TERMINAL, *map(str, words)],
            stdin=slave, stdout=slave, stderr=slave, start_new_session=True, env=environment(),
        )  # fmt: skip
        os.close(slave)
        self.shown = ""

    def answer(self, prompt: str, text: str) -> None:
        """Type ``text`` when the command has asked for it."""
        start = len(self.shown)
        while prompt not in self.shown[start:]:
            assert self._read(), f"ended without {prompt!r}: {self.shown}"
        os.write(self._master, f"{text}\n".encode())

    def end(self) -> int:
        while self._read():
            pass
        os.close(self._master)
        return self._process.wait(SECONDS)

    def _read(self) -> bool:
        assert select.select([self._master], [], [], SECONDS)[0], f"silent after {self.shown!r}"
        try:
            data = os.read(self._master, 4096)
        except OSError:  # how Linux says that nobody holds the other end
            return False
        self.shown += data.decode()
        return bool(data)


def without_terminal(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "simulator", "fleet", *map(str, words)],
        env=environment(), start_new_session=True, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def fleet(*words: object, **variables: str) -> list[str]:
    """Run ``simulator fleet`` in this process, with these variables in its environment."""
    result = CliRunner().invoke(app, [str(word) for word in words], env=variables, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "core2.fleet"


def opens(path: Path, passphrase: str) -> bool:
    with FleetStore.open(path, lambda _: passphrase) as store:
        return store.is_protected and len(store.credentials()) > 0


def test_a_new_fleet_is_protected_by_what_is_typed_twice_and_never_shown(path: Path) -> None:
    terminal = Terminal(["fleet", "create", path, "--devices", 2, "--passphrase"])
    terminal.answer(f"New passphrase of {path}: ", PASSPHRASE)
    terminal.answer("The same again: ", OTHER)
    terminal.answer(f"New passphrase of {path}: ", "")
    terminal.answer(f"New passphrase of {path}: ", PASSPHRASE)
    terminal.answer("The same again: ", PASSPHRASE)
    assert terminal.end() == 0
    assert "issued 2 devices" in terminal.shown
    assert PASSPHRASE not in terminal.shown
    assert opens(path, PASSPHRASE)


def test_three_attempts_that_differ_make_nothing(path: Path) -> None:
    terminal = Terminal(["fleet", "create", path, "--devices", 2, "--passphrase"])
    for _ in range(3):
        terminal.answer(f"New passphrase of {path}: ", PASSPHRASE)
        terminal.answer("The same again: ", OTHER)
    assert terminal.end() == 2
    assert "no passphrase was typed the same twice" in terminal.shown
    assert not path.exists()


def test_a_protected_fleet_asks_when_it_needs_a_key(path: Path, tmp_path: Path) -> None:
    fleet("create", path, "--devices", 2, SIMULATOR_PASSPHRASE=PASSPHRASE)
    terminal = Terminal(["fleet", "export", path, tmp_path / "out"])
    terminal.answer(f"Passphrase of {path}: ", "guess")
    assert terminal.end() == 2
    assert f"this is not the passphrase of {path}" in terminal.shown
    terminal = Terminal(["fleet", "export", path, tmp_path / "out"])
    terminal.answer(f"Passphrase of {path}: ", PASSPHRASE)
    assert terminal.end() == 0
    assert "exported 2 devices" in terminal.shown


def test_an_end_of_file_is_no_passphrase(path: Path) -> None:
    terminal = Terminal(["fleet", "create", path, "--devices", 1, "--passphrase"])
    terminal.answer("New passphrase", "\x04")
    assert terminal.end() == 2
    assert "and none was typed" in terminal.shown
    assert not path.exists()


def test_without_terminal_and_variable_a_sentence_says_what_to_do(path: Path) -> None:
    fleet("create", path, "--devices", 1, SIMULATOR_PASSPHRASE=PASSPHRASE)
    done = without_terminal("crl", path)
    assert done.returncode == 2
    assert done.stderr == (
        f"error: {path} is protected by a passphrase, and there is no terminal to ask for it at:"
        " set SIMULATOR_PASSPHRASE to it\n"
    )
    assert done.stdout == ""


def test_what_needs_no_key_asks_for_nothing(path: Path) -> None:
    fleet("create", path, "--devices", 2, SIMULATOR_PASSPHRASE=PASSPHRASE)
    assert "keys           sealed with a passphrase" in fleet("show", path)
    assert len(fleet("list", path)) == 1 + 2
    fleet("revoke", path, "device-00001")
    fleet("create", path, "--devices", 1, "--add", SIMULATOR_PASSPHRASE=PASSPHRASE)
    assert len(fleet("crl", path, SIMULATOR_PASSPHRASE=PASSPHRASE)) > 10


def test_protect_changes_and_unprotect_ends_it(path: Path) -> None:
    fleet("create", path, "--devices", 1)
    assert "keys           not protected by a passphrase" in fleet("show", path)
    said = fleet("protect", path, SIMULATOR_PASSPHRASE=PASSPHRASE)
    assert said == [f"the keys in {path} are sealed; without the passphrase they are lost"]
    variables = {"SIMULATOR_PASSPHRASE": PASSPHRASE, "SIMULATOR_NEW_PASSPHRASE": OTHER}
    fleet("protect", path, **variables)
    with pytest.raises(WrongPassphraseError):
        fleet("protect", path, **variables)
    said = fleet("unprotect", path, SIMULATOR_PASSPHRASE=OTHER)
    assert said == [f"the keys in {path} are for whoever can read the file"]
    with FleetStore.open(path) as store:
        assert len(store.credentials()) == 1


def test_an_import_can_be_protected(path: Path, tmp_path: Path) -> None:
    fleet("create", path, "--devices", 1)
    fleet("export", path, tmp_path / "out")
    again = tmp_path / "again.fleet"
    fleet("import", tmp_path / "out", again, SIMULATOR_PASSPHRASE=PASSPHRASE)
    assert opens(again, PASSPHRASE)


def test_a_fleet_that_exists_is_not_given_a_passphrase_by_create(path: Path) -> None:
    fleet("create", path, "--devices", 1)
    with pytest.raises(UsageError, match="`simulator fleet protect` changes one"):
        fleet("create", path, "--devices", 1, "--add", "--passphrase")
