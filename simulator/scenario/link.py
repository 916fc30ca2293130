"""How devices reach the broker: the ``[link]`` table, and the source addresses in it, as people write them.

Values only: whether this machine has an address, or an interface of that name, is found out where it runs.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Annotated

from pydantic import Field, PlainSerializer, PlainValidator, WithJsonSchema

from simulator.scenario.table import Table
from simulator.scenario.wording import quote

__all__ = ["AddressRange", "Interface", "Link", "Source"]

MOST_ADDRESSES = 65_536
"""Addresses of one range: each of them is looked for on the machine before a run."""

_NUMERIC = re.compile(r"[0-9.]+|[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*")
"""What can only be meant as an address. An interface may be called ``eth0.100`` or ``br-4a2f``."""

_INTERFACE = re.compile(r"[^\s/:]{1,15}")
"""A name that Linux lets an interface have (dev_valid_name)."""

_EXPECTED = (
    'an address, a range such as "127.0.0.2-127.0.0.9", a block such as "10.0.0.0/24", or an interface'
)


@dataclass(frozen=True, slots=True)
class AddressRange:
    """Addresses of one family from ``first`` to ``last``; ``text`` is how they were written."""

    text: str
    first: IPv4Address | IPv6Address
    last: IPv4Address | IPv6Address

    def __str__(self) -> str:
        return self.text

    def __len__(self) -> int:
        return int(self.last) - int(self.first) + 1

    def __iter__(self) -> Iterator[str]:
        return (str(self.first + number) for number in range(len(self)))


@dataclass(frozen=True, slots=True)
class Interface:
    """Whatever addresses a network interface has."""

    name: str

    def __str__(self) -> str:
        return self.name


def _source(value: object) -> AddressRange | Interface:
    """Read an address, a range or block of them, or the name of an interface."""
    text = value if isinstance(value, str) else ""
    first, dash, last = text.partition("-")
    try:
        if "/" in text:
            return _usable(text, *_ends_of_block(text))
        if _NUMERIC.fullmatch(first):
            return _usable(text, ip_address(first), ip_address(last if dash else first))
    except ValueError as error:
        raise ValueError(f"expected {_EXPECTED}, not {quote(value)}: {error}") from None
    if not _INTERFACE.fullmatch(text):
        raise ValueError(f"expected {_EXPECTED}, not {quote(value)}")
    return Interface(text)


def _ends_of_block(text: str) -> tuple[IPv4Address | IPv6Address, IPv4Address | IPv6Address]:
    """Return the first and last address of a block that a host may have: not the network's, nor broadcast."""
    block = ip_network(text)
    spare = 1 if block.num_addresses > 2 else 0
    last = block.broadcast_address if block.version == 6 else block.broadcast_address - spare
    return block.network_address + spare, last


def _usable(text: str, first: IPv4Address | IPv6Address, last: IPv4Address | IPv6Address) -> AddressRange:
    if first.version != last.version or int(last) < int(first):
        raise ValueError("a range runs upwards, from one address to another of its kind")
    found = AddressRange(text, first, last)
    if int(last) - int(first) >= MOST_ADDRESSES:
        raise ValueError(f"it holds more than {MOST_ADDRESSES:,} addresses")
    if any(each.is_unspecified or each.is_multicast for each in (first, last)):
        raise ValueError("no connection can start from there")
    return found


Source = Annotated[
    AddressRange | Interface,
    PlainValidator(_source),
    PlainSerializer(str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "source", "examples": ["127.0.0.2-127.0.0.9", "eth0"]}),
]


class Link(Table):
    """How devices reach the broker."""

    source: tuple[Source, ...] = Field((), examples=[["127.0.0.2-127.0.0.9"]])
    """Addresses that connections start from, spread evenly over the devices: an address, a range, a block
    (``10.0.0.0/24``) or the name of an interface, which stands for its addresses.

    From one address there are some 28,000 connections to an endpoint, since each takes a local port, and the
    second half of them is slow. All addresses must be this machine's; on a cluster each machine uses those
    that it has. Without any, the kernel chooses.
    """
