"""How many processes share a run on this machine, from what the user asks for and what the machine has."""

from __future__ import annotations

import os
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING

import psutil

from simulator.errors import UsageError
from simulator.link.address import addresses
from simulator.scenario.kinds import BrokerKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator.scenario.broker import Broker

__all__ = ["processes_asked", "processes_wanted"]

MOST = 256
"""More than this many processes on one machine are a slip of the finger."""


def processes_wanted(asked: str | None, broker: Broker) -> int | None:
    """Return the number that ``asked`` stands for; None where nothing is asked.

    ``auto`` is one for each core that this process may use, less one for a broker on this machine.
    Raises UsageError for what is neither a number nor ``auto``.
    """
    return None if asked is None else processes_asked(asked, partial(is_here, broker))


def processes_asked(asked: str, spared: Callable[[], int] = int) -> int:
    """Return the number that ``asked`` stands for; ``auto`` is one for each core, less those ``spared``.

    Raises UsageError for what is neither a number nor ``auto``.
    """
    if asked == "auto":
        return max(1, cores() - spared())
    if not (asked.isascii() and asked.isdecimal() and 1 <= int(asked) <= MOST):
        raise UsageError(f"--processes is a number from 1 to {MOST}, or auto, not {asked!r}")
    return int(asked)


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def is_here(broker: Broker) -> bool:
    """Tell whether a broker takes its time from the cores of this machine."""
    if broker.kind is not BrokerKind.EXTERNAL:
        return True
    own = {each.address.partition("%")[0] for found in psutil.net_if_addrs().values() for each in found}
    hosts = [str(found.sockaddr[0]) for endpoint in broker.endpoints for found in addresses(endpoint)]
    return any(host in own or ip_address(host).is_loopback for host in hosts)
