"""Thresholds: what a scenario demands of the figures of its run, and whether they meet it.

    measure = [fleet "."] figure
    figure  = phase ["." ("response" | "service")] "." stat   a duration, or how many succeeded (count)
            | "lag" "." stat                                  how late the generator was
            | [phase "."] "failures"                          how many attempts failed, or which share
            | "dropped"                                       arrivals over the in-flight cap, or which share
            | [way "."] ("lost" | "duplicated" | "reordered") messages, or which share of those that were sent
            | "connected"                                     devices at the end of the last stage, or share
    way     = "deliver" | "command" | "command_answer"
    stat    = "p50" | "p90" | "p99" | "p99.9" | "max" | "mean" | "count"
    limit   = ("<" | "<=" | "==" | ">=" | ">") value          800ms, 0.1%, 500

A figure without data never meets a threshold; of lost messages there is data once the fate of all is settled.
This module knows nothing of scenarios but their units.
"""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import TYPE_CHECKING

from simulator.clock import MICROSECOND
from simulator.metrics.sample import HEARD, Kind, Phase
from simulator.scenario.units import parse_duration
from simulator.scenario.wording import alternatives, did_you_mean, nearest, quote

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from simulator.metrics.histogram import Histogram
    from simulator.metrics.snapshot import Totals

__all__ = ["STATS", "Figure", "Status", "Threshold", "Unit", "Verdict", "judge", "parse", "stat"]

STATS = ("p50", "p90", "p99", "p99.9", "max", "mean", "count")

_COMPARE = {"<=": operator.le, ">=": operator.ge, "==": operator.eq, "<": operator.lt, ">": operator.gt}
_PLAIN = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_LIMIT = re.compile(r"(<=|>=|==|<|>)\s*([^<>=\s].*)")
_EXPECTED = 'a measure such as "tls_handshake.p99", "failures" or "connected"'


class Figure(StrEnum):
    """What a threshold looks at."""

    TIME = "time"
    LAG = "lag"
    FAILURES = "failures"
    DROPPED = "dropped"
    CONNECTED = "connected"
    LOST = "lost"
    DUPLICATED = "duplicated"
    REORDERED = "reordered"


class Unit(StrEnum):
    """What the numbers of a threshold and its verdict count."""

    MICROSECONDS = "us"
    PERCENT = "%"
    COUNT = "count"


class Status(StrEnum):
    """How a threshold came out."""

    MET = "met"
    BROKEN = "broken"
    NO_DATA = "no_data"


@dataclass(frozen=True, slots=True)
class Measure:
    """What to look at, of which fleet (all where None) and phase."""

    figure: Figure
    fleet: str | None = None
    phase: Phase | None = None
    kind: Kind = Kind.RESPONSE
    stat: str = ""


@dataclass(frozen=True, slots=True)
class Threshold:
    """One demand; ``measure`` and ``limit`` are the texts that it was read from."""

    measure: str
    limit: str
    of: Measure
    comparator: str
    value: Fraction
    """In ``unit``."""
    unit: Unit

    def __str__(self) -> str:
        return f"{self.measure} {self.limit}"

    def holds(self, measured: Fraction) -> bool:
        """Tell whether a figure, in ``unit``, is within the limit."""
        return bool(_COMPARE[self.comparator](measured, self.value))


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one threshold came out; ``measured`` is in its unit, and None where there is no data."""

    threshold: Threshold
    status: Status
    measured: float | None


def parse(measure: str, limit: object, fleets: Collection[str] = ()) -> Threshold:
    """Read one line of a scenario's thresholds; ``fleets`` are the names that a measure may begin with.

    ``ValueError`` with a phrase that says what was expected, and what was probably meant.
    """
    of = _parse_measure(measure, fleets)
    comparator, value, unit = _parse_limit(of, limit)
    return Threshold(measure, str(limit), of, comparator, value, unit)


def _parse_measure(text: str, fleets: Collection[str]) -> Measure:
    words = text.split(".")
    if words[-2:] == ["p99", "9"]:
        words[-2:] = ["p99.9"]
    fleet = words.pop(0) if _begins_with_fleet(words, fleets) else None
    if fleet is not None and fleets and fleet not in fleets:
        what = "fleet" if fleet in _PHASES else "fleet or phase"
        raise ValueError(f"there is no {what} {quote(fleet)}{did_you_mean(fleet, [*fleets, *_PHASES])}")
    match words:
        case [word] if word in _ALONE:
            return Measure(Figure(word), fleet)
        case ["lag", word]:
            return Measure(Figure.LAG, fleet, stat=_stat_word(word))
    if not words or words[0] not in _PHASES:
        raise ValueError(f"expected {_EXPECTED}, not {quote(text)}{_whole_hint(text, words, fleets)}")
    return _parse_phase(text, fleet, Phase(words[0]), words[1:])


def _whole_hint(text: str, words: list[str], fleets: Collection[str]) -> str:
    """Return what ``text`` was probably meant to be, where its first word but the fleet's is misspelled."""
    meant = nearest(words[0], [*_HEADS, *fleets]) if words else None
    if meant is None:
        return ""
    end = ".".join(words)
    return f"; did you mean {quote(text.removesuffix(end) + '.'.join([str(meant), *words[1:]]))}?"


_PHASES = tuple(str(phase) for phase in Phase)
_FATES = ("lost", "duplicated", "reordered")
_ALONE = ("failures", "dropped", "connected", *_FATES)
_HEADS = (*_PHASES, "lag", *_ALONE)
_WAYS = HEARD | {Phase.COMMAND}


def _begins_with_fleet(words: list[str], fleets: Collection[str]) -> bool:
    """Tell whether the first word names a fleet: the word of a phase does so only where it must."""
    first, second = (*words, "")[:2]
    if first in _HEADS:
        return second in _HEADS and not (first in _PHASES and second in ("failures", *_FATES))
    return second in _HEADS or first in fleets


def _parse_phase(text: str, fleet: str | None, phase: Phase, tail: list[str]) -> Measure:
    match tail:
        case ["failures"] if phase is Phase.TLS_RESUMPTION:
            expected = 'expected "tls_handshake.failures"'
            raise ValueError(f"a handshake that fails counts as a full one: {expected}, not {quote(text)}")
        case ["failures"]:
            return Measure(Figure.FAILURES, fleet, phase)
        case [word] if word in _FATES and phase in _WAYS:
            return Measure(Figure(word), fleet, phase)
        case _ if phase is Phase.SESSION:
            raise ValueError(f'a session has failures only: expected "session.failures", not {quote(text)}')
        case [word]:
            return Measure(Figure.TIME, fleet, phase, stat=_stat_word(word))
        case ["response" | "service" as kind, word]:
            return Measure(Figure.TIME, fleet, phase, Kind(kind), _stat_word(word))
        case [word, _]:
            kinds = ("response", "service")
            raise ValueError(f"expected {alternatives(kinds)}, not {quote(word)}{did_you_mean(word, kinds)}")
    raise ValueError(f"expected {quote(f'{phase}.p99')} or another statistic of it, not {quote(text)}")


def _stat_word(word: str) -> str:
    if word not in STATS:
        words = (*STATS, "failures")
        raise ValueError(f"expected {alternatives(words)}, not {quote(word)}{did_you_mean(word, words)}")
    return word


def _parse_limit(of: Measure, limit: object) -> tuple[str, Fraction, Unit]:
    in_time = of.figure in (Figure.TIME, Figure.LAG) and of.stat != "count"
    example = "< 800ms" if in_time else "< 0.1%" if of.figure is not Figure.TIME else ">= 500"
    match = _LIMIT.fullmatch(limit.strip()) if isinstance(limit, str) else None
    if match is None:
        raise ValueError(f"expected a limit such as {quote(example)}, not {quote(limit)}")
    comparator, text = match[1], match[2].strip()
    if in_time:
        return comparator, Fraction(parse_duration(text), MICROSECOND), Unit.MICROSECONDS
    percent = text.endswith("%") and of.stat != "count"
    number = text.removesuffix("%").rstrip() if percent else text
    if not _PLAIN.fullmatch(number):
        raise ValueError(f"expected a limit such as {quote(example)}, not {quote(limit)}")
    return comparator, Fraction(number), Unit.PERCENT if percent else Unit.COUNT


def judge(threshold: Threshold, totals: Totals, devices: Mapping[str, Mapping[str, int]]) -> Verdict:
    """Hold ``threshold`` against a run; ``devices``, by fleet and state, at the end of its last stage."""
    measured = _measure(threshold, totals, devices)
    if measured is None:
        return Verdict(threshold, Status.NO_DATA, None)
    status = Status.MET if threshold.holds(measured) else Status.BROKEN
    return Verdict(threshold, status, float(measured))


def _measure(
    threshold: Threshold, totals: Totals, devices: Mapping[str, Mapping[str, int]]
) -> Fraction | None:
    of = threshold.of
    if of.figure in (Figure.TIME, Figure.LAG):
        kind = Kind.LAG if of.figure is Figure.LAG else of.kind
        histogram = totals.histogram(kind, fleet=of.fleet, phase=of.phase)
        known = totals.attempts(fleet=of.fleet, phase=of.phase) if of.stat == "count" else histogram.count
        return Fraction(stat(histogram, of.stat)) if known else None
    part, whole = _part_of_whole(of, totals, devices)
    if whole == 0:
        return None
    return Fraction(100 * part, whole) if threshold.unit is Unit.PERCENT else Fraction(part)


def _part_of_whole(of: Measure, totals: Totals, devices: Mapping[str, Mapping[str, int]]) -> tuple[int, int]:
    match of.figure:
        case Figure.FAILURES:
            failed = totals.failures(fleet=of.fleet, phase=of.phase)
            return failed, max(totals.attempts(fleet=of.fleet, phase=of.phase), failed)
        case Figure.DROPPED:
            arrivals = totals.arrivals(fleet=of.fleet)
            return arrivals.dropped, arrivals.due
        case Figure.LOST | Figure.DUPLICATED | Figure.REORDERED:
            counts = totals.deliveries(fleet=of.fleet, phase=of.phase)
            return (getattr(counts, of.figure), counts.sent) if counts.settled else (0, 0)
    fleets = [states for name, states in devices.items() if of.fleet in (None, name)]
    connected = sum(states.get("connected", 0) for states in fleets)
    return connected, sum(sum(states.values()) for states in fleets)


def stat(histogram: Histogram, name: str) -> float:
    """Return one of ``STATS`` of a histogram, microseconds or a count."""
    match name:
        case "max":
            return histogram.max
        case "mean":
            return histogram.mean
        case "count":
            return histogram.count
    return histogram.percentile(float(name.removeprefix("p")))
