"""The script that ends a program with its parent."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from simulator.brokers import leash

if TYPE_CHECKING:
    from pathlib import Path

WAIT = "import time; print('running', flush=True); time.sleep(60)"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {WAIT}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "server.key").write_text("secret")
    return folder


def start(folder: Path, code: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-I", "-S", leash.__file__, str(folder), sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def running(held: subprocess.Popen[bytes]) -> psutil.Process:
    """Return the program once it runs."""
    assert held.stdout is not None
    assert held.stdout.readline() == b"running\n"
    (program,) = psutil.Process(held.pid).children()
    return program


def test_ends_the_program_with_its_input(folder: Path) -> None:
    with start(folder, WAIT) as held:
        program = running(held)
        held.communicate()
        assert held.returncode == -signal.SIGTERM % 256
        assert not program.is_running()
    assert not folder.exists()


def test_ends_the_program_when_it_is_told_to_end(folder: Path) -> None:
    with start(folder, WAIT) as held:
        program = running(held)
        held.terminate()
        assert held.wait() == 0
        assert not program.is_running()
    assert not folder.exists()


def test_passes_on_how_the_program_ended(folder: Path) -> None:
    with start(folder, "raise SystemExit(7)") as held:
        assert held.wait() == 7
    assert not folder.exists()


def test_gives_the_program_all_open_files_there_are(folder: Path) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with start(folder, "import resource; print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])") as held:
        assert held.stdout is not None
        assert int(held.stdout.readline()) == hard


def test_kills_a_program_that_does_not_end(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leash, "_GRACE_SECONDS", 0.05)
    with subprocess.Popen([sys.executable, "-c", DEAF], stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"running\n"
        leash._end(program)
        assert program.wait() == -signal.SIGKILL
