"""What this machine has for a run: cores, memory, descriptors and local ports."""

from __future__ import annotations

import resource
from dataclasses import dataclass
from pathlib import Path

import psutil

from simulator.engine.processes import cores

__all__ = ["Machine", "this_machine"]

PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
COMMON_PORTS = 28_232
"""Local ports of a Linux that nobody has told otherwise: 32768 to 60999."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine's resources; ``descriptors`` is what one process may have open, None where nothing bounds it.

    ``memory`` is bytes that are available; ``ports`` is connections from one address to one endpoint.
    """

    cores: int
    memory: int
    descriptors: int | None
    ports: int


def this_machine() -> Machine:
    """Look at this machine, as far as this process may use it."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    return Machine(
        cores=cores(),
        memory=psutil.virtual_memory().available,
        descriptors=None if most == resource.RLIM_INFINITY else most,
        ports=_local_ports(),
    )


def _local_ports() -> int:
    try:
        first, last = PORTS.read_text().split()
    except OSError:
        return COMMON_PORTS
    return int(last) - int(first) + 1
