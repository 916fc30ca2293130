"""How many files and sockets this process may have open, checked before a run needs them."""

from __future__ import annotations

import resource

from simulator.errors import UsageError

__all__ = ["raise_descriptor_limit"]

SPARE = 64
"""Files that a process needs beside its devices' sockets."""


def raise_descriptor_limit(devices: int) -> None:
    """Allow this process as many open files as it may have; raise UsageError where that is too few."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if most != resource.RLIM_INFINITY and devices + SPARE > most:
        raise UsageError(
            f"{devices:,} devices need as many open files, and this process may have {most:,}: "
            f"raise the hard limit (ulimit -Hn {devices + SPARE}), or lower the number of devices"
        )
