"""What this machine has for a run: cores, memory, descriptors and local ports."""

from __future__ import annotations

import resource
from dataclasses import dataclass

import psutil

from simulator.engine.descriptors import descriptor_limit
from simulator.engine.ports import SLOW, local_ports
from simulator.engine.processes import cores

__all__ = ["Machine", "this_machine"]


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine's resources; ``descriptors`` is what one process may have open, None where nothing bounds it.

    ``memory`` is bytes that are available; ``ports`` is connections from one address to one endpoint, as many
    as the kernel finds a port for without a long search.
    """

    cores: int
    memory: int
    descriptors: int | None
    ports: int


def this_machine() -> Machine:
    """Look at this machine, as far as this process may use it."""
    files = descriptor_limit()
    return Machine(
        cores=cores(),
        memory=psutil.virtual_memory().available,
        descriptors=None if files == resource.RLIM_INFINITY else files,
        ports=local_ports() // SLOW,
    )
