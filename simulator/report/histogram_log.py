"""HdrHistogram's own log format, version 1.3 with tags: what its tools and plotters read.

Format: https://github.com/HdrHistogram/HdrHistogram, class HistogramLogWriter. One line is the histogram of
one series and kind of time in one interval; its values are microseconds, the maximum beside it milliseconds.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from simulator.clock import SECOND
from simulator.metrics.histogram import Histogram
from simulator.metrics.sample import Kind, Phase
from simulator.metrics.snapshot import SeriesKey

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from simulator.metrics.snapshot import Snapshot

__all__ = ["Line", "header", "lines", "parse"]

_MAX_RATIO = 1000
_LINE = re.compile(r"Tag=(?P<tag>[^,]+),[\d.]+,[\d.]+,(?P<max>[\d.]+),(?P<payload>[\w+/=]+)")


class Line(NamedTuple):
    """One interval of one kind of time of one series, of one shard."""

    shard: int
    key: SeriesKey
    kind: Kind
    histogram: Histogram


def header(started: datetime) -> str:
    """Return the comments that a log begins with; intervals are in seconds since ``started``."""
    epoch = f"{started.timestamp():.3f} (seconds since epoch)"
    return (
        "#[Histogram log format version 1.3]\n"
        f"#[StartTime: {epoch}, {started:%a %b %d %H:%M:%S UTC %Y}]\n"
        f"#[BaseTime: {epoch}]\n"
        "#[Values: microseconds; Interval_Max: milliseconds; Tag: fleet.phase.kind[.shard]]\n"
        '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"\n'
    )


def lines(snapshot: Snapshot) -> Iterator[str]:
    """Yield a line, with its end, for each histogram of the interval that counted something.

    The tag of shard 0 has no number: in a run of one shard, that is all there is.
    """
    start, length = snapshot.start / SECOND, (snapshot.end - snapshot.start) / SECOND
    for key, interval in snapshot.series.items():
        for kind in Kind:
            histogram = interval.histogram(kind)
            if histogram.count:
                greatest = histogram.max / _MAX_RATIO
                tag = f"{key.fleet}.{key.phase}.{kind}" + (f".{snapshot.shard}" if snapshot.shard > 0 else "")
                yield f"Tag={tag},{start:.3f},{length:.3f},{greatest:.3f},{histogram.encode()}\n"


def parse(line: str) -> Line | None:
    """Return what a line of ``lines`` holds, or None for a comment or legend; ``ValueError`` for others."""
    if line.startswith(("#", '"')):
        return None
    match = _LINE.fullmatch(line.rstrip("\n"))
    if match is None:
        raise ValueError("not a tagged interval of a histogram log")
    tag, _, number = match["tag"].rpartition(".")
    if not number.isdecimal():
        tag, number = match["tag"], "0"
    fleet, phase, kind = tag.rsplit(".", 2)
    exact_max = round(float(match["max"]) * _MAX_RATIO)
    histogram = Histogram.decode(match["payload"], exact_max=exact_max)
    return Line(int(number), SeriesKey(fleet, Phase(phase)), Kind(kind), histogram)
