"""Run a program that does not watch its parent, and end it when the parent goes away.

``leash.py FOLDER PROGRAM ARGUMENT…`` is a script of its own, of the standard library only, started by path so
that it is up in a few milliseconds. It runs the program until its own standard input ends: the parent
closed it, or was killed, for the kernel closes the pipes of the dead. This needs no PR_SET_PDEATHSIG, which
only Linux has. It passes SIGHUP on, which has such programs read their files again. It gives the program as
many open files as the system allows, and when the program has ended, it removes FOLDER, which holds the
program's private key.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from typing import NoReturn

__all__ = ["main", "raise_open_files_limit"]

_GRACE_SECONDS = 4.0
_AGAIN_SECONDS = 0.2


def raise_open_files_limit() -> None:
    """Raise the soft limit of open files to the hard limit; every device is one of them."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # macOS says "unlimited" and means less
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _leave(*_: object) -> NoReturn:
    raise SystemExit(0)


def _end(program: subprocess.Popen[bytes]) -> None:
    """Tell ``program`` to end, more than once: mosquitto forgets a SIGTERM that comes as it gets ready."""
    deadline = time.monotonic() + _GRACE_SECONDS
    while program.poll() is None and time.monotonic() < deadline:
        program.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            program.wait(_AGAIN_SECONDS)
    program.kill()


def _end_with_input(program: subprocess.Popen[bytes]) -> None:
    while os.read(0, 4096):
        pass
    _end(program)


def main(folder: str, *command: str) -> int:
    """Run ``command`` to its end, or to the end of standard input; return its exit status."""
    signal.signal(signal.SIGTERM, _leave)
    raise_open_files_limit()
    try:
        program = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        try:
            signal.signal(signal.SIGHUP, lambda number, _: program.send_signal(number))
            threading.Thread(target=_end_with_input, args=(program,), daemon=True).start()
            return program.wait()
        finally:
            _end(program)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
