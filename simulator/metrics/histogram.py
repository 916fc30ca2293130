"""A histogram of durations that records batches fast and speaks HdrHistogram's format.

Buckets are exactly those of an HdrHistogram from 1 µs to 1 h with 3 significant digits, so nothing is lost
on the way to its file format; the library does the encoding. Counts are kept sparse and are added with
``Counter`` at C speed, because a ``record_value`` of the library costs more than measuring a message may.
"""

from __future__ import annotations

import binascii
import zlib
from collections import Counter
from itertools import compress
from typing import TYPE_CHECKING

from hdrh.codec import HdrCookieException, HdrLengthException
from hdrh.histogram import HdrHistogram

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

__all__ = ["LIMIT", "Histogram"]

_LOWEST, _HIGHEST, _DIGITS = 1, 3_600_000_000, 3

# HdrHistogram halves 2,048 sub-buckets: 11 significant bits of each value are kept, and each further bit of
# magnitude takes 1,024 more places in the array of counts.
_BITS = 11
_LINEAR = 1 << _BITS
_HALF_BITS = _BITS - 1
_TOP_SHIFT = 21
_TOP = (_TOP_SHIFT << _HALF_BITS) + _LINEAR - 1

# All encoding goes through one histogram of the library: to make one takes longer than to encode with it.
_SCRATCH = HdrHistogram(_LOWEST, _HIGHEST, _DIGITS)

LIMIT = (_LINEAR - 1) << _TOP_SHIFT
"""Microseconds (71 minutes) from which on values are not told apart; they are counted in ``overflow``."""


class Histogram:
    """Counts of durations in whole microseconds, exact to 0.1 %."""

    __slots__ = ("_counts", "_max")

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self._max = 0

    def record_many(self, values: Collection[int]) -> None:
        """Count each of ``values``, microseconds; negative ones as 0, those beyond ``LIMIT`` as ``LIMIT``."""
        if not values:
            return
        highest = max(values)
        if highest > LIMIT or min(values) < 0:
            values = [min(max(value, 0), LIMIT) for value in values]
            highest = min(max(highest, 0), LIMIT)
        self._max = max(self._max, highest)
        if highest >= _LINEAR:
            values = [
                v if v < _LINEAR else ((shift := v.bit_length() - _BITS) << _HALF_BITS) + (v >> shift)
                for v in values
            ]
        self._counts.update(values)

    def add(self, other: Histogram) -> None:
        """Add all that ``other`` counted: the same as if its values had been recorded here."""
        self._counts.update(other._counts)
        self._max = max(self._max, other._max)

    @property
    def count(self) -> int:
        """How many values were recorded."""
        return self._counts.total()

    @property
    def overflow(self) -> int:
        """How many of them were at ``LIMIT`` or beyond."""
        return self._counts.get(_TOP, 0)

    @property
    def max(self) -> int:
        """The greatest value, exact; 0 where there is none."""
        return self._max

    @property
    def min(self) -> int:
        """The lowest value of the first bucket in use; 0 where there is none."""
        return _lowest(min(self._counts)) if self._counts else 0

    @property
    def mean(self) -> float:
        """The mean, taking each value for the middle of its bucket; 0.0 where there is none."""
        total = sum((low + (width >> 1)) * count for low, width, count in self._spans())
        return total / self.count if self._counts else 0.0

    def percentile(self, percent: float) -> int:
        """Return the least bucket bound that at least ``percent`` of the values do not exceed (nearest rank).

        ``percent`` counts to three decimals. The result is at most ``max``, and 0 where there is no value.
        """
        rank = max(-(-round(percent * 1000) * self.count // 100_000), 1)
        for low, width, count in self._spans():
            rank -= count
            if rank <= 0:
                return min(low + width - 1, self._max)
        return 0

    def buckets(self) -> Iterator[tuple[int, int, int]]:
        """Yield (lowest, highest, count) of each bucket in use, ascending, for plots."""
        return ((low, low + width - 1, count) for low, width, count in self._spans())

    def _spans(self) -> Iterator[tuple[int, int, int]]:
        return ((_lowest(index), _width(index), count) for index, count in sorted(self._counts.items()))

    def encode(self) -> str:
        """Return the counts in HdrHistogram's compressed V2 format, in base64.

        Up to the next power of two, all zero behind the maximum: the library makes a type of ctypes for each
        length that it encodes, which lives until the collector comes round; so let there be few lengths.
        """
        counts = _SCRATCH.counts
        for index, count in self._counts.items():
            counts[index] = count
        _SCRATCH.total_count = self.count
        _SCRATCH.max_value = max(_LINEAR, 1 << self._max.bit_length()) - 1
        try:
            return str(_SCRATCH.encode(), "ascii")
        finally:
            for index in self._counts:
                counts[index] = 0

    @classmethod
    def decode(cls, text: str, *, exact_max: int | None = None) -> Histogram:
        """Return the histogram that ``encode`` wrote.

        ``exact_max`` restores its maximum, which the format rounds up to the end of a bucket.
        ``ValueError`` where ``text`` is damaged or was recorded with another range or precision.
        """
        try:
            whole = HdrHistogram.decode(text)
        except (binascii.Error, zlib.error, HdrCookieException, HdrLengthException) as error:
            raise ValueError(f"not a histogram: {error or type(error).__name__}") from error
        shape = (whole.lowest_trackable_value, whole.highest_trackable_value, whole.significant_figures)
        if shape != (_LOWEST, _HIGHEST, _DIGITS):
            raise ValueError("a histogram of another range or precision")
        histogram = cls()
        counts = whole.counts[: whole.get_counts_array_index(whole.max_value) + 1]
        used = compress(range(len(counts)), counts)
        histogram._counts.update(dict(zip(used, filter(None, counts), strict=True)))
        histogram._max = whole.max_value if exact_max is None else exact_max
        return histogram

    def __repr__(self) -> str:
        return f"<Histogram of {self.count} values up to {self._max} µs>"


def _lowest(index: int) -> int:
    """Return the lowest value that is counted at ``index``."""
    return index if index < _LINEAR else (index - _magnitude(index)) << _shift(index)


def _width(index: int) -> int:
    return 1 if index < _LINEAR else 1 << _shift(index)


def _shift(index: int) -> int:
    return (index >> _HALF_BITS) - 1


def _magnitude(index: int) -> int:
    return _shift(index) << _HALF_BITS
