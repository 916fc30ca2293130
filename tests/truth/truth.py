"""What a run's figures must be, by the faulty broker's own record, and how near the product's come."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from simulator.clock import MICROSECOND
from simulator.metrics.sample import Kind, Phase
from simulator.metrics.threshold import stat
from simulator.scenario.kinds import TlsVersion
from tests.support.faulty_plan import Step

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tests.support.faulty_journal import Note
    from tests.truth.rig import Measured

STATS = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 99.9, "max": 100.0}
ABSOLUTE, RELATIVE = 1_000, 0.02
"""How far a figure may be from the truth: 1 ms, or 2 % of it where that is more."""


class Series(NamedTuple):
    """A figure of the report: response or service time of a phase."""

    phase: Phase
    kind: Kind


Truth = dict[Series, list[int]]
"""Nanoseconds of each sample, in any order."""


def truth_of(measured: Measured, notes: Sequence[Note], tls: TlsVersion) -> Truth:
    """Return all that the broker and the timetable know; nothing here comes from the product's measuring.

    A service time is from the arrival of what the broker answered to its answer; a response time from when
    the timetable, or a message itself, says that it was due.
    """
    steps = {step: by_connection(notes, step) for step in (Step.HELLO, Step.FINISHED, Step.CONNECT)}
    hellos, connects = steps[Step.HELLO], steps[Step.CONNECT]
    due = {number: measured.connects_due()[note.client] for number, note in connects.items()}
    turns = [hellos, steps[Step.FINISHED]] if tls is TlsVersion.V12 else [hellos]
    publishes = served_publishes(notes)
    return {
        # The ClientHello leaves as soon as TCP is connected.
        Series(Phase.TCP_CONNECT, Kind.RESPONSE): [hellos[each].heard - due[each] for each in due],
        Series(Phase.TLS_HANDSHAKE, Kind.SERVICE): [
            sum(turn[each].said - turn[each].heard for turn in turns) for each in due
        ],
        Series(Phase.MQTT_CONNECT, Kind.SERVICE): served(connects.values()),
        Series(Phase.CONNECT, Kind.RESPONSE): [connects[each].said - due[each] for each in due],
        Series(Phase.SUBSCRIBE, Kind.SERVICE): served(by_connection(notes, Step.SUBSCRIBE).values()),
        Series(Phase.PUBLISH, Kind.SERVICE): served(publishes),
        Series(Phase.PUBLISH, Kind.RESPONSE): [
            note.said - (note.due - measured.wall_offset) for note in publishes
        ],
    }


def by_connection(notes: Sequence[Note], step: Step) -> dict[int, Note]:
    return {note.connection: note for note in notes if (note.event, note.step) == ("answered", step)}


def served_publishes(notes: Sequence[Note]) -> list[Note]:
    return [note for note in notes if (note.event, note.step) == ("answered", Step.PUBLISH)]


def served(notes: Iterable[Note]) -> list[int]:
    return [note.said - note.heard for note in notes]


def rank(samples: Sequence[int], percent: float) -> float:
    """Return a percentile by nearest rank, microseconds."""
    place = max(math.ceil(round(percent * len(samples), 6) / 100), 1)
    return sorted(samples)[place - 1] / MICROSECOND


def figure(measured: Measured, series: Series, name: str) -> float:
    return stat(measured.totals.histogram(series.kind, phase=series.phase), name)


def floor_of(measured: Measured, truth: Truth) -> dict[Series, float]:
    """Return what the machine itself takes, by a run in which the broker never waited: microseconds.

    It is the product's median less the truth's: the kernel's way to the broker and back, and, in the
    handshake, the client's own arithmetic.
    """
    return {series: figure(measured, series, "p50") - rank(samples, 50) for series, samples in truth.items()}


def errors(measured: Measured, truth: Truth, floor: Mapping[Series, float]) -> dict[str, str]:
    """Return every figure that is too far from the truth: what it is, and how far, in microseconds."""
    wrong = {}
    for series, samples in truth.items():
        for name, percent in STATS.items():
            said, true = figure(measured, series, name), rank(samples, percent) + floor[series]
            if abs(said - true) > max(ABSOLUTE, RELATIVE * true):
                wrong[f"{series.phase}.{series.kind}.{name}"] = f"{said:.0f}, and truly {true:.0f}"
    return wrong
