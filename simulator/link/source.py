"""Source addresses: which of a pool this machine has, ready for a socket to be bound to.

They are looked for once, before a run. This module must not know which device starts from where.
"""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import psutil

from simulator.errors import UsageError
from simulator.scenario.link import AddressRange
from simulator.scenario.wording import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from simulator.scenario.link import Interface

__all__ = ["SourceAddress", "Sources", "check_sources", "sources_here"]

_NOT_OURS = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EINVAL})
"""What the kernel answers where an address, or its family, is not this machine's."""


class SourceAddress(NamedTuple):
    """One address that connections may start from, as ``socket.bind`` takes it; any port will do."""

    address: str
    port: int = 0


Sources: TypeAlias = dict[socket.AddressFamily, tuple[SourceAddress, ...]]
"""Where connections may start, by family; empty where the kernel is to choose."""


def sources_here(pool: Iterable[AddressRange | Interface]) -> Sources:
    """Return those addresses of a pool that this machine has, in order and each once.

    Raises UsageError where the pool has some, and this machine none of them. A socket is bound to each.
    """
    wanted = tuple(pool)
    found = dict.fromkeys(each for source in wanted for each in _addresses(source) if _is_here(each))
    if wanted and not found:
        listed = ", ".join(map(str, wanted))
        raise UsageError(f"link.source: this machine has none of the addresses of {listed}")
    families = dict.fromkeys(map(_family, found))
    return {
        family: tuple(SourceAddress(each) for each in found if _family(each) is family) for family in families
    }


def check_sources(pool: Iterable[AddressRange | Interface]) -> None:
    """Raise UsageError where a pool names an address, or an interface, that this machine does not have."""
    for source in pool:
        addresses = list(_addresses(source))
        if not addresses:
            names = psutil.net_if_addrs()
            meant = did_you_mean(source, names) or "."
            raise UsageError(
                f"link.source: this machine has no interface {source} with an address to start from{meant}"
                f" It has: {', '.join(names)}"
            )
        missing = [address for address in addresses if not _is_here(address)]
        if missing:
            more = len(missing) - 1
            count = f", nor {'is' if more == 1 else 'are'} {more:,} more of {source}" if more else ""
            raise UsageError(
                f"link.source: {missing[0]} is not an address of this machine{count}: name those that it has,"
                f" or give it more (ip address add {missing[0]} dev lo)"
            )


def _addresses(source: AddressRange | Interface) -> Iterator[str]:
    """Yield the addresses of a range, or those of an interface of this machine that need no zone."""
    if isinstance(source, AddressRange):
        yield from source
        return
    for each in psutil.net_if_addrs().get(source.name, ()):
        if each.family in {socket.AF_INET, socket.AF_INET6} and "%" not in each.address:
            yield each.address


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _is_here(address: str) -> bool:
    """Tell whether a connection of this machine may start from an address; from all of 127.0.0.0/8 it may."""
    try:
        with socket.socket(_family(address), socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.IPPROTO_IP, socket.IP_BIND_ADDRESS_NO_PORT, 1)
            probe.bind(SourceAddress(address))
    except OSError as error:
        if error.errno in _NOT_OURS:
            return False
        raise
    return True
