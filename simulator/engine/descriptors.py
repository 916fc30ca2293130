"""Open files: each connection is one in the process that drives its device, and one in its broker.

What a run needs is compared with what the system allows before anything is started. This module must not
know what the processes do.
"""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

from simulator.errors import UsageError
from simulator.scenario.kinds import BrokerKind

if TYPE_CHECKING:
    from simulator.scenario.model import Scenario

__all__ = ["SPARE", "check_broker_descriptors", "descriptor_limit", "raise_descriptor_limit"]

SPARE = 64
"""Files that a process needs beside the sockets of devices: its run folder, fleet files, pipes and loop."""


def raise_descriptor_limit(devices: int) -> None:
    """Allow this process as many open files as it may have; raise UsageError where that is too few.

    ``devices`` is how many this one process is to hold. What it starts from now on inherits the limit.
    """
    most = descriptor_limit()
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    check(devices, "the process that drives them", "drive them with more processes (--processes)")


def check_broker_descriptors(scenario: Scenario) -> None:
    """Raise UsageError where a broker that the run starts may not have as many open files as it needs.

    It inherits the limits of this process, and takes as much of them as it may.
    """
    broker = scenario.broker
    if broker.kind is BrokerKind.EXTERNAL:
        return
    devices = scenario.largest_share(broker.count)
    kind = "mosquittos" if broker.kind is BrokerKind.MOSQUITTO else "brokers of kind mosquitto"
    check(devices, f"the {broker.kind} broker", f"start more {kind} (count in [broker])")


def check(devices: int, holder: str, instead: str) -> None:
    """Raise UsageError where one process may not hold so many connections."""
    most, wanted = descriptor_limit(), devices + SPARE
    if most != resource.RLIM_INFINITY and wanted > most:
        raise UsageError(
            f"{devices:,} devices take {wanted:,} open files in {holder}, one each and {SPARE} for the rest,"
            f" and a process here may have {most:,}: {instead}, raise the hard limit (as root ulimit -n"
            f" {wanted}, in a systemd unit LimitNOFILE={wanted}, with docker run --ulimit nofile={wanted}),"
            " or lower the number of devices"
        )


def descriptor_limit() -> int:
    """Return how many open files a process started here may have at most, or ``RLIM_INFINITY``."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]
