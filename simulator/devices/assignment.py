"""Which endpoint a device connects to, and from which source address: evenly, and always the same way.

It follows from the index of a device in its fleet alone, and so is the same on any number of shards. A shard
owns every n-th device; to deal endpoints out in turn as well would give each shard of two only one endpoint
of two. So each round of the deal begins at another place, drawn by the round's number.
"""

from __future__ import annotations

from simulator.devices.noise import bits

__all__ = ["endpoint_of", "source_of"]


def endpoint_of(index: int, endpoints: int) -> int:
    """Return which of so many endpoints the index-th device connects to; each round has every one once."""
    return _dealt(index, endpoints)


def source_of(index: int, endpoints: int, sources: int) -> int:
    """Return which of so many source addresses the index-th device starts from.

    It is dealt to a whole round of endpoints, so that ``endpoints * sources`` devices make each pair once.
    """
    return _dealt(index // endpoints, sources)


def _dealt(number: int, places: int) -> int:
    return (number + bits(places, number // places)) % places if places > 1 else 0
