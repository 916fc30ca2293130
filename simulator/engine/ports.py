"""Local ports: each connection takes one, and one source address has only so many towards one endpoint.

What a run needs is compared with what this machine gives out before anything is started.
"""

from __future__ import annotations

from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

from simulator.errors import UsageError
from simulator.link.address import addresses, reachable
from simulator.link.source import check_sources, sources_here
from simulator.scenario.kinds import Endpoint

if TYPE_CHECKING:
    from simulator.scenario.model import Scenario

__all__ = ["SLOW", "check_local_ports", "check_ports", "local_ports"]

SPARE = 32
"""Ports of the range that other programs may hold, by listening on them."""

SLOW = 2
"""The kernel looks for a port among every second one first. Once those are taken towards an endpoint, it
looks at all of them, in vain, for each further connect: 3 ms of CPU, not 0.04, as measured on Linux 6.18.
"""

PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
"""Holds for IPv6 as well (Documentation/networking/ip-sysctl in the kernel)."""


def check_local_ports(scenario: Scenario) -> tuple[str, ...]:
    """Return in a sentence each what will be slow where this machine alone runs a scenario.

    Raises UsageError where it cannot: it may lack one of the source addresses, have none of the broker's
    family, or too few for so many connections.
    """
    broker, pool = scenario.broker, scenario.link.source
    endpoints = broker.endpoints or (Endpoint(broker.host, broker.port),) * broker.count
    devices = scenario.largest_share(1)
    if not pool:
        return check_ports(devices, len(endpoints))
    check_sources(pool)
    sources = sources_here(pool)
    families = {
        reachable(endpoint, addresses(endpoint), sources)[0].family for endpoint in dict.fromkeys(endpoints)
    }
    fewest = min(len(sources[family]) for family in families)
    return check_ports(devices, len(endpoints), fewest)


def check_ports(devices: int, endpoints: int, sources: int = 1) -> tuple[str, ...]:
    """Return why connects will be slow where so many devices take more than half of the local ports.

    ``sources`` is how many addresses of this machine they start from; where the kernel chooses, that is one.
    Raises UsageError where they take more ports than there are.
    """
    most = local_ports()
    wanted = ceil(devices / (endpoints * sources))
    if wanted <= most // SLOW:
        return ()
    enough = ceil(devices / endpoints / (most // SLOW))
    need = (
        f"{devices:,} devices take {wanted:,} local ports for each pair of a source address and a broker's"
        f" endpoint (there are {sources} and {endpoints})"
    )
    remedy = (
        f'name {enough} source addresses in [link], such as source = ["127.0.0.2-127.0.0.{enough + 1}"] where'
        " the broker is on this machine too"
    )
    if wanted > most:
        raise UsageError(
            f"{need}, and this machine has {most:,} for a pair (net.ipv4.ip_local_port_range): {remedy}"
        )
    return (f"{need}; past {most // SLOW:,} each connect takes the kernel milliseconds: {remedy}",)


def local_ports() -> int:
    """Return how many local ports this machine has for connections from one address to one endpoint."""
    first, last = map(int, PORT_RANGE.read_text().split())
    return last - first + 1 - SPARE
