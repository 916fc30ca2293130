"""Care for somebody else's broker: whose permission a run needs, and how much load is refused without more.

A public address is one that is reachable from anywhere, as IANA's registries of special-purpose addresses
have it: not loopback, link-local, private (RFC 1918, RFC 4193), shared (RFC 6598) or reserved. This module
only decides: it looks up no name, and connects to nothing.
"""

from __future__ import annotations

import ipaddress
from math import ceil
from operator import attrgetter
from typing import TYPE_CHECKING

from simulator.scenario.demand import demands
from simulator.scenario.wording import quote

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from simulator.link.address import Address
    from simulator.scenario.kinds import Endpoint
    from simulator.scenario.model import Scenario

__all__ = ["MOST_CONNECTS", "MOST_MESSAGES", "objections", "public"]

MOST_CONNECTS = 100.0
"""Connects a second that a broker at a public address gets unless the scenario raises ``limits.connects``."""

MOST_MESSAGES = 1_000.0
"""Messages a second that a broker at a public address gets unless the scenario raises ``limits.messages``."""


def public(addresses: Iterable[Address]) -> list[str]:
    """Return those addresses that are public, in the order given."""
    return [address for each in addresses if _is_public(address := str(each.sockaddr[0]))]


def _is_public(address: str) -> bool:
    given = ipaddress.ip_address(address)
    mapped = given.ipv4_mapped if isinstance(given, ipaddress.IPv6Address) else None
    return (mapped or given).is_global


def objections(scenario: Scenario, found: Mapping[Endpoint, Iterable[Address]]) -> list[str]:
    """Return why the scenario may not run against a broker at these addresses, a sentence each; [] if it may.

    ``found`` holds every address of every endpoint of an external broker; it is empty for one that the run
    starts by itself.
    """
    where = [
        f"{endpoint} ({', '.join(outside)})" if outside != [endpoint.host] else str(endpoint)
        for endpoint, addresses in found.items()
        if (outside := public(addresses))
    ]
    return [*_unauthorised(scenario, where), *_too_much(scenario, where)]


def _unauthorised(scenario: Scenario, where: list[str]) -> Iterator[str]:
    if where and not scenario.broker.authorised:
        yield (
            f"the broker at {' and '.join(where)} can be reached from anywhere, so it may not be yours to"
            " load: if its operator lets you, say so with --authorised, or with authorised = true in [broker]"
        )


def _too_much(scenario: Scenario, where: list[str]) -> Iterator[str]:
    limits = scenario.limits
    kinds = (("connects", limits.connects, MOST_CONNECTS), ("messages", limits.messages, MOST_MESSAGES))
    for kind, given, unless_raised in kinds:
        stage = max(demands(scenario), key=attrgetter(kind))
        asked: float = getattr(stage, kind)
        most = given or (unless_raised if where else asked)
        if asked > most:
            there = "" if given else f" at {' and '.join(where)}, which can be reached from anywhere"
            yield (
                f"stage {quote(stage.stage)} asks for {asked:,.10g} {kind}/s, and limits.{kind} allows"
                f" {most:,.10g}/s{there}: lower the load, or raise the limit with"
                f" --set limits.{kind}={ceil(asked)}/s"
            )
