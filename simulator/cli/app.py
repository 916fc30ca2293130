"""Where the command ``simulator`` begins, and what every verb does when it is interrupted.

It imports next to nothing, so that Ctrl-C is answered in order while the rest is still being imported.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

__all__ = ["BUG", "INTERRUPTED", "main"]

INTERRUPTED = 130
"""Exit code after Ctrl-C or SIGTERM: 128 + SIGINT, as shells have it."""

BUG = 70
"""Exit code where this program itself is at fault: EX_SOFTWARE of sysexits.h."""


def main() -> None:
    """Run the command line. SIGTERM is the same as Ctrl-C: both end in KeyboardInterrupt and code 130."""
    answer_signals(leave_at_once)
    try:
        from simulator.cli import verbs  # noqa: PLC0415 - takes half a second, in which Ctrl-C may come

        app = verbs.asked_for()  # imports, too
        answer_signals(signal.default_int_handler)
        sys.exit(verbs.execute(app))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as bug:  # noqa: BLE001 - Python's own exit code, 1, would say that a threshold is broken
        sys.excepthook(type(bug), bug, bug.__traceback__)
        sys.exit(BUG)


def answer_signals(how: Callable[[int, FrameType | None], object]) -> None:
    """Answer Ctrl-C and SIGTERM in the same way."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, how)


def leave_at_once(*_: object) -> NoReturn:
    """End without a word, since nothing has begun.

    An exception would not do: raised in one of the callbacks that importing consists of, Python swallows it.
    """
    os._exit(INTERRUPTED)
