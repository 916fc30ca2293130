"""Devices dealt out over endpoints and source addresses: evenly in the whole, and in each shard."""

from __future__ import annotations

from collections import Counter
from math import sqrt

import pytest

from simulator.devices.assignment import endpoint_of, source_of
from simulator.timetable import Part

NUMBERS = [(2, 1), (2, 2), (3, 2), (4, 4), (5, 3), (1, 4)]


@pytest.mark.parametrize(("endpoints", "sources"), NUMBERS)
def test_each_pair_gets_as_many_as_any_other(endpoints: int, sources: int) -> None:
    rounds = 50
    pairs = Counter(
        (endpoint_of(index, endpoints), source_of(index, endpoints, sources))
        for index in range(rounds * endpoints * sources)
    )
    assert len(pairs) == endpoints * sources
    assert set(pairs.values()) == {rounds}


@pytest.mark.parametrize("shards", [2, 3, 4, 6])
@pytest.mark.parametrize(("endpoints", "sources"), NUMBERS)
def test_each_shard_loads_all_of_them_alike(endpoints: int, sources: int, shards: int) -> None:
    devices = 12_000
    places = endpoints * sources
    for index in range(shards):
        part = Part(index, shards)
        pairs = Counter(
            (endpoint_of(device, endpoints), source_of(device, endpoints, sources))
            for device in range(devices)
            if part.owns(device)
        )
        wanted = devices / shards / places
        assert len(pairs) == places
        assert all(abs(found - wanted) < 5 * sqrt(wanted) for found in pairs.values()), pairs


def test_alone_there_is_no_choice() -> None:
    assert {(endpoint_of(index, 1), source_of(index, 1, 1)) for index in range(10)} == {(0, 0)}
