"""Noise: a published sequence, even spread, and no memory."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.devices import noise

seeds = st.integers(0, 2**64 - 1)
numbers = st.integers(0, 2**44)


def test_is_splitmix64() -> None:
    """The first outputs of SplitMix64 for the seed 1234567, as its authors' reference code prints them."""
    assert [noise.bits(1234567, number) for number in range(1, 6)] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


@given(seeds, numbers)
def test_bits_are_64_and_the_same_each_time(seed: int, number: int) -> None:
    assert 0 <= noise.bits(seed, number) < 2**64
    assert noise.bits(seed, number) == noise.bits(seed, number)


@given(seeds, numbers)
def test_a_share_never_reaches_one(seed: int, number: int) -> None:
    assert 0 <= noise.share(seed, number) < 1


def test_the_largest_share_is_below_one() -> None:
    assert (2**64 - 1 >> 11) / 2**53 < 1


@pytest.mark.parametrize("seed", [0, 7, 2**63])
def test_shares_are_spread_evenly(seed: int) -> None:
    """Chi-squared with 63 degrees of freedom: one good generator in a thousand is over 103.4."""
    draws = 6400
    cells = Counter(int(noise.share(seed, number) * 64) for number in range(draws))
    expected = draws / 64
    assert sum((cells[cell] - expected) ** 2 / expected for cell in range(64)) < 103.4


def test_neighbours_differ_in_half_of_their_bits() -> None:
    differing = [(noise.bits(7, number) ^ noise.bits(7, number + 1)).bit_count() for number in range(2000)]
    assert 31 < sum(differing) / len(differing) < 33


def test_every_device_has_a_seed_of_its_own() -> None:
    made = {
        noise.seed_of(seed, fleet, index)
        for seed in (1, 2)
        for fleet in ("core2", "core3")
        for index in range(1000)
    }
    assert len(made) == 4000
