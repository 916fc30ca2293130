"""One child process, with small programs in the place of a broker."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from simulator.brokers.process import Child, Command
from simulator.errors import BrokerError

if TYPE_CHECKING:
    from pathlib import Path

PROMPT = "import sys; print('up and running', flush=True); sys.stdin.read(); print('bye', file=sys.stderr)"
STUBBORN = "import time; print('up and running', flush=True); time.sleep(60)"
DYING = "import sys; [print(number, file=sys.stderr) for number in range(100)]; sys.exit(7)"
SILENT = "import time; time.sleep(60)"


def command(code: str, folder: Path | None = None) -> Command:
    return Command(argv=(sys.executable, "-c", code), ready="running", folder=folder)


async def test_is_ready_when_it_says_so_and_ends_with_its_input(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    child = await Child.start(command(PROMPT, folder))
    assert await child.wait_ready(10)
    assert child.returncode is None
    await child.stop()
    await child.wait_exit()
    assert child.returncode == 0
    assert child.tail == ("up and running", "bye")
    assert not folder.exists()


async def test_first_input_reaches_it() -> None:
    echo = Command(
        argv=(sys.executable, "-c", "print(input(), flush=True); input()"), ready="word", stdin=b"a word\n"
    )
    child = await Child.start(echo)
    assert await child.wait_ready(10)
    await child.stop()


async def test_one_that_does_not_end_is_killed() -> None:
    child = await Child.start(command(STUBBORN))
    assert await child.wait_ready(10)
    await child.stop(seconds=0.05)
    assert child.returncode == -9


async def test_one_that_ends_first_is_never_ready_and_its_last_lines_are_kept() -> None:
    child = await Child.start(command(DYING))
    assert not await child.wait_ready(10)
    assert child.returncode == 7
    assert child.tail == tuple(map(str, range(50, 100)))
    await child.stop()


async def test_one_that_says_nothing_is_not_waited_for_for_ever() -> None:
    child = await Child.start(command(SILENT))
    assert not await child.wait_ready(0.05)
    assert child.returncode is None
    await child.stop(seconds=0.05)


async def test_files_are_removed_where_the_program_cannot_be_started(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    with pytest.raises(FileNotFoundError):
        await Child.start(Command(argv=(str(tmp_path / "missing"),), ready="running", folder=folder))
    assert not folder.exists()


async def test_usage_before_the_start_is_an_error() -> None:
    with pytest.raises(BrokerError, match="has not been started"):
        Child(command(PROMPT)).usage()


def test_command_does_not_show_what_is_secret() -> None:
    assert "secret" not in repr(Command(argv=("program", "secret"), ready="", stdin=b"secret"))
