"""Repeatable noise without state: the same seed and number give the same bits, anywhere and in any order.

A generator object for each of thousands of devices would cost 2.5 KiB each and tie results to the order of
calls. This is the finaliser of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number
generators, 2014).
"""

from __future__ import annotations

from zlib import crc32

__all__ = ["BACK_OFF", "FIRST_MESSAGE", "JITTER", "bits", "seed_of", "share"]

MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15

FIRST_MESSAGE, JITTER, BACK_OFF = 1 << 40, 2 << 40, 3 << 40
"""Where the draws of a device begin for each use of chance, so that none repeats another's."""


def bits(seed: int, number: int) -> int:
    """Return 64 well-mixed bits for the number-th draw of a seed."""
    mixed = (seed + number * GOLDEN) & MASK
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB & MASK
    return mixed ^ (mixed >> 31)


def share(seed: int, number: int) -> float:
    """Return a number from 0 up to, and without, 1."""
    return (bits(seed, number) >> 11) / (1 << 53)


def seed_of(seed: int, fleet: str, index: int) -> int:
    """Return the seed of one device: its own, whatever shard it runs on."""
    return bits(bits(seed, crc32(fleet.encode())), index)
