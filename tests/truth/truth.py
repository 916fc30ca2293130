"""What a run's figures must be, by the faulty broker's own record, and how near the product's come."""

from __future__ import annotations

import math
from operator import add
from typing import TYPE_CHECKING, NamedTuple

from simulator.clock import MICROSECOND
from simulator.metrics.sample import Kind, Phase
from simulator.metrics.threshold import stat
from simulator.scenario.kinds import TlsVersion
from tests.support.faulty_plan import Step
from tests.support.waits import Waits

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.support.faulty_journal import Note
    from tests.truth.rig import Measured

STATS = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 99.9, "max": 100.0}


class Tolerance(NamedTuple):
    """How far a figure may be from the truth: microseconds, or a share of it where that is more."""

    absolute: float
    relative: float

    def within(self, said: float, least: float, most: float) -> bool:
        """Tell whether a figure is between two true ones, or near enough to one of them; microseconds."""
        return least - self.of(least) <= said <= most + self.of(most)

    def of(self, true: float) -> float:
        """Return how far a figure may be from a true one, both in microseconds."""
        return max(self.absolute, self.relative * true)


ON_AN_IDLE_MACHINE = Tolerance(1_000, 0.02)
ON_ANY_MACHINE = Tolerance(3_000, 0.03)
"""What a device takes longer to shake hands where others keep the caches and the processor's other half busy
is in no record of waits: of two thousand figures on such a machine, two were 1.9 and 1.7 ms off."""
QUICK = 10.0
NO_WAITS = Waits()


class Series(NamedTuple):
    """A figure of the report: response or service time of a phase."""

    phase: Phase
    kind: Kind


class Span(NamedTuple):
    """Nanoseconds that a sample took; from and to are the same where the machine kept nobody waiting."""

    least: int
    most: int


Truth = dict[Series, list[Span]]
"""All samples, in any order."""

Floor = dict[Series, tuple[float, float]]
"""Microseconds that the machine itself takes, at least and at most."""


def truth_of(measured: Measured, notes: Sequence[Note], tls: TlsVersion, waits: Waits = NO_WAITS) -> Truth:
    """Return all that the broker and the timetable know; nothing here comes from the product's measuring.

    A service time is from the arrival of what the broker answered to its answer; a response time from when
    the timetable, or a message itself, says that it was due. Where the machine kept the product ``waits``
    from sending what the broker heard, or from reading what it said, a sample may be that much longer.
    """
    steps = {step: by_connection(notes, step) for step in (Step.HELLO, Step.FINISHED, Step.CONNECT)}
    hellos, connects = steps[Step.HELLO], steps[Step.CONNECT]
    due = {number: measured.connects_due()[note.client] for number, note in connects.items()}
    turns = [hellos, steps[Step.FINISHED]] if tls is TlsVersion.V12 else [hellos]
    publishes = served_publishes(notes)
    return {
        # The ClientHello leaves as soon as TCP is connected.
        Series(Phase.TCP_CONNECT, Kind.RESPONSE): [
            Span(took - waits.near(hellos[each].heard), took)
            for each in due
            for took in [hellos[each].heard - due[each]]
        ],
        Series(Phase.TLS_HANDSHAKE, Kind.SERVICE): [
            served([turn[each] for turn in turns], waits) for each in due
        ],
        Series(Phase.MQTT_CONNECT, Kind.SERVICE): [served([note], waits) for note in connects.values()],
        Series(Phase.CONNECT, Kind.RESPONSE): [answered(connects[each], due[each], waits) for each in due],
        Series(Phase.SUBSCRIBE, Kind.SERVICE): [
            served([note], waits) for note in by_connection(notes, Step.SUBSCRIBE).values()
        ],
        Series(Phase.PUBLISH, Kind.SERVICE): [served([note], waits) for note in publishes],
        Series(Phase.PUBLISH, Kind.RESPONSE): felt(measured, publishes, waits),
    }


def by_connection(notes: Sequence[Note], step: Step) -> dict[int, Note]:
    return {note.connection: note for note in notes if (note.event, note.step) == ("answered", step)}


def served_publishes(notes: Sequence[Note]) -> list[Note]:
    return [note for note in notes if (note.event, note.step) == ("answered", Step.PUBLISH)]


def served(turns: Sequence[Note], waits: Waits) -> Span:
    """Return how long the broker served one client, in one turn or several."""
    took = sum(turn.said - turn.heard for turn in turns)
    return Span(took, took + waits.near(*(at for turn in turns for at in (turn.heard, turn.said))))


def answered(note: Note, due: int, waits: Waits) -> Span:
    """Return how long after a due time the answer left."""
    return Span(note.said - due, note.said - due + waits.near(note.said))


def felt(measured: Measured, publishes: Iterable[Note], waits: Waits) -> list[Span]:
    """Return the response times of messages, which say themselves when they were due."""
    return [answered(note, note.due - measured.wall_offset, waits) for note in publishes]


def rank(samples: Iterable[int], percent: float) -> float:
    """Return a percentile by nearest rank, microseconds."""
    ascending = sorted(samples)
    place = max(math.ceil(round(percent * len(ascending), 6) / 100), 1)
    return ascending[place - 1] / MICROSECOND


def bounds(samples: Sequence[Span], percent: float) -> tuple[float, float]:
    """Return between which two values a percentile lies, microseconds: each sample lies within its span."""
    return rank((each.least for each in samples), percent), rank((each.most for each in samples), percent)


def figure(measured: Measured, series: Series, name: str) -> float:
    return stat(measured.totals.histogram(series.kind, phase=series.phase), name)


def floor_of(measured: Measured, truth: Truth) -> Floor:
    """Return what the machine itself takes, by a run in which the broker never waited.

    It is how much more than the truth the product says: the kernel's way to the broker and back, and, in the
    handshake, the client's own arithmetic. A low percentile, which a busy machine hardly moves.
    """
    floor = {}
    for series, samples in truth.items():
        said = measured.totals.histogram(series.kind, phase=series.phase).percentile(QUICK)
        least, most = bounds(samples, QUICK)
        floor[series] = (said - most, said - least)
    return floor


def errors(
    measured: Measured, truth: Truth, floor: Floor, near: Tolerance = ON_AN_IDLE_MACHINE
) -> dict[str, str]:
    """Return every figure that is too far from the truth: what it is, and how far, in microseconds."""
    wrong = {}
    for series, samples in truth.items():
        for name, percent in STATS.items():
            said = figure(measured, series, name)
            least, most = map(add, bounds(samples, percent), floor[series])
            if not near.within(said, least, most):
                wrong[f"{series.phase}.{series.kind}.{name}"] = (
                    f"{said:.0f}, and truly {least:.0f} to {most:.0f}"
                )
    return wrong
