"""Several workers on one machine: a process each, none of which outlives this one.

Each is the command that a user would start for one worker, under the leash that brokers have: it ends when
this process does, even by SIGKILL, and what it kept in its temporary folder goes with it.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from typing import TYPE_CHECKING

from simulator.brokers import leash

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Callable, Sequence

__all__ = ["run_side_by_side"]


async def run_side_by_side(commands: Sequence[Sequence[str]], say: Callable[[str], None]) -> int:
    """Run all commands until each has ended by itself, or this task is cancelled.

    Returns the first exit code that is not 0. One that ends before the others is not started again; ``say``
    is told.
    """
    processes: list[Process] = []
    codes: list[int] = []
    try:
        for command in commands:
            await _start(command, processes)  # which has those that are started, whatever becomes of the rest
        for ending in asyncio.as_completed([process.wait() for process in processes]):
            codes.append(await ending)
            left = len(processes) - len(codes)
            if left:
                say(f"a worker has ended with exit code {codes[-1]}; left of {len(processes)}: {left}")
    finally:
        for process in processes:
            if process.stdin is not None:
                process.stdin.close()
        await asyncio.gather(*(process.wait() for process in processes))
    return next((code for code in codes if code), 0)


async def _start(command: Sequence[str], processes: list[Process]) -> None:
    folder = tempfile.mkdtemp(prefix="simulator-worker-")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-I", "-S", leash.__file__, folder),
        *command,
        stdin=asyncio.subprocess.PIPE,
        env={**os.environ, "TMPDIR": folder},
        start_new_session=True,  # out of reach of the terminal's Ctrl-C: we pass it on
    )
    processes.append(process)
