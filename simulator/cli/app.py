"""Where the command ``simulator`` begins, and what every verb does when it is interrupted.

It imports next to nothing, so that Ctrl-C is answered in order while the rest is still being imported.
"""

from __future__ import annotations

import signal
import sys
import traceback

__all__ = ["BUG", "INTERRUPTED", "main"]

INTERRUPTED = 130
"""Exit code after Ctrl-C or SIGTERM: 128 + SIGINT, as shells have it."""

BUG = 70
"""Exit code where this program itself is at fault: EX_SOFTWARE of sysexits.h."""


def main() -> None:
    """Run the command line. SIGTERM is the same as Ctrl-C: both end in KeyboardInterrupt and code 130."""
    try:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        from simulator.cli.verbs import execute  # noqa: PLC0415 - takes half a second, in which Ctrl-C may come

        sys.exit(execute())
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception:  # noqa: BLE001 - a bug; Python's own exit code, 1, would say that a threshold is broken
        traceback.print_exc()
        sys.exit(BUG)
