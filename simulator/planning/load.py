"""What a scenario asks for, counted second by second from its timetable alone.

It is pure: nothing is run to find out. Where chance decides, in back-offs and in who is revoked, the counts
are those to be expected, so they need not be whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from math import ceil
from random import Random
from typing import TYPE_CHECKING

from simulator.clock import SECOND
from simulator.devices.context import tend_every
from simulator.planning.work import Kind, Work
from simulator.scenario.kinds import ArrivalKind
from simulator.timetable import Verb, timetable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from simulator.scenario.fleet import Fleet, Reconnect
    from simulator.scenario.model import Commanding, Publishing, Scenario
    from simulator.timetable import Action, StageTimes

__all__ = ["Load", "count"]

BACKING_OFF = 200
"""Devices whose back-offs are drawn, to stand for all of a fleet."""

TIME_WAIT = 60
"""Seconds for which Linux keeps the local port of a connection that this side has closed."""


@dataclass(frozen=True, slots=True)
class Load:
    """A scenario's work, by kind and fleet, in each second of it."""

    work: Mapping[Work, tuple[float, ...]]
    stages: tuple[StageTimes, ...]
    seconds: float
    devices: int
    connected: float
    """Most devices that are connected at once."""
    leaving: Mapping[str, float]
    """Devices by fleet that are connected at the end, and leave."""
    ports: float
    """Most local ports in use at once, if each that was closed rests for a minute."""

    def total(self, *kinds: Kind) -> float:
        """Return how much there is of these kinds in all."""
        return sum(sum(seconds) for work, seconds in self.work.items() if work.kind in kinds)

    def peak(self, *kinds: Kind) -> float:
        """Return the most of these kinds in any one second."""
        series = [seconds for work, seconds in self.work.items() if work.kind in kinds]
        return max((sum(each) for each in zip(*series, strict=True)), default=0.0)

    def stage_of(self, second: int) -> str:
        """Return the name of the stage that most of a second belongs to."""
        middle = min(second + 0.5, self.seconds) * SECOND
        return next((stage.name for stage in self.stages if middle <= stage.end), self.stages[-1].name)


def count(scenario: Scenario) -> Load:
    """Return what a scenario asks for."""
    return _Count(scenario).load()


class _Count:
    """Walks through the timetable and writes down what is due in which second."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._stages = timetable(scenario)
        self._end = self._stages[-1].end
        self._length = max(1, ceil(self._end / SECOND))
        self._work: dict[Work, list[float]] = {}
        self._arriving = {name: [0.0] * (self._length + 1) for name in scenario.fleets}
        """By how much the number of connected devices changes in a second, on average over it."""
        self._revoked = {name: fleet.revoked for name, fleet in scenario.fleets.items()}
        self._refused = dict.fromkeys(scenario.fleets, 0.0)
        """Share of a fleet that has met the broker's refusal."""

    def load(self) -> Load:
        for stage in self._stages:
            self._stage(stage)
        present = {name: list(accumulate(changes)) for name, changes in self._arriving.items()}
        for name, fleet in self._scenario.fleets.items():
            self._stay(name, fleet, present[name])
        everyone = [sum(each) for each in zip(*present.values(), strict=True)][:-1]
        return Load(
            work={work: tuple(seconds) for work, seconds in self._work.items()},
            stages=self._stages,
            seconds=self._end / SECOND,
            devices=sum(fleet.devices for fleet in self._scenario.fleets.values()),
            connected=max(everyone),
            leaving={name: sum(changes) for name, changes in self._arriving.items()},
            ports=max(map(sum, zip(everyone, self._resting(), strict=True))),
        )

    def _stage(self, stage: StageTimes) -> None:
        if stage.revoke is not None:
            self._revoked[stage.revoke.fleet] += stage.revoke.share
        if stage.outage is not None:
            for name in self._scenario.fleets:
                self._outage(name, *stage.outage)
        for action in stage.actions:
            if action.publishing is None:
                self._devices(action)
            else:
                self._spread(Work(Kind.MESSAGE, action.fleet), action.publishing, action.window)
        if stage.command is not None and stage.command.publishing is not None:
            work = Work(Kind.COMMAND, stage.command.fleet)
            self._spread(work, stage.command.publishing, stage.command.window)

    def _devices(self, action: Action) -> None:
        """Count what devices do at times that the timetable knows."""
        name = action.fleet
        refused = self._revoked[name] - self._refused[name]
        kind, change = {
            Verb.CONNECT: (Kind.CONNECT, 1 - self._revoked[name]),
            Verb.RECONNECT: (Kind.RECONNECT, -refused),
        }.get(action.verb, (Kind.FAREWELL, -1.0))
        for at in action.times:
            self._add(Work(kind, name), at)
            self._arrive(name, at, change)
        if kind is not Kind.FAREWELL and action.times:
            share = len(action.times) / self._scenario.fleets[name].devices
            newly = refused * share
            self._refused[name] += newly
            self._try_again(name, newly * self._scenario.fleets[name].devices, action.times[-1])

    def _try_again(self, name: str, devices: float, since: int) -> None:
        """Count the attempts of devices that the broker refuses each time: handshakes for nothing."""
        for attempt, weight in self._attempts(name, devices, since, failures=1):
            self._add(Work(Kind.CONNECT, name), attempt, weight)

    def _outage(self, name: str, gone: int, back: int) -> None:
        """Count that all lose the broker, try in vain while it is away, and return one by one."""
        lost = sum(self._arriving[name])
        self._add(Work(Kind.FAILURE, name), gone, lost)
        self._arrive(name, gone, -lost)
        for attempt, weight in self._attempts(name, lost, gone, failures=0, until=back):
            if attempt < back:
                self._add(Work(Kind.FAILURE, name), attempt, weight)
            else:
                self._add(Work(Kind.CONNECT, name), attempt, weight)
                self._arrive(name, attempt, weight)

    def _attempts(
        self, name: str, devices: float, since: int, *, failures: int, until: int | None = None
    ) -> Iterator[tuple[int, float]]:
        """Yield when devices that back off try again, each until once after ``until``, and how many."""
        reconnect = self._scenario.fleets[name].reconnect
        drawn = min(BACKING_OFF, ceil(devices))
        if not drawn or not reconnect.enabled:
            return
        source = Random(f"{self._scenario.seed}/{name}/{since}")
        for _ in range(drawn):
            for attempt in back_off(reconnect, source, since, failures):
                if attempt >= self._end:
                    break
                yield attempt, devices / drawn
                if until is not None and attempt >= until:
                    break

    def _stay(self, name: str, fleet: Fleet, present: list[float]) -> None:
        """Count what devices do by themselves while they are connected."""
        telemetry = SECOND / fleet.telemetry.every if fleet.telemetry else 0.0
        silent = fleet.keepalive // 2 // SECOND
        for second in range(self._length):
            lasting, at = min(1.0, self._end / SECOND - second), second * SECOND
            self._add(Work(Kind.TEND, name), at, lasting * present[second] * SECOND / tend_every(fleet))
            self._add(Work(Kind.MESSAGE, name), at, lasting * present[second] * telemetry)
            if second >= silent:
                self._add(Work(Kind.MESSAGE, name), at, lasting * present[second - silent] * pings(fleet))

    def _spread(self, work: Work, arriving: Publishing | Commanding, window: tuple[int, int]) -> None:
        """Spread arrivals over a window at the rate that they have then."""
        start, end = window
        for second in range(start // SECOND, min(self._length, ceil(end / SECOND))):
            since, until = max(start, second * SECOND), min(end, (second + 1) * SECOND)
            rate = arriving.rate
            if arriving.arrivals is ArrivalKind.RAMP:
                along = ((since + until) / 2 - start) / (end - start)
                rate = arriving.from_rate + (rate - arriving.from_rate) * along
            self._add(work, since, rate * (until - since) / SECOND)

    def _resting(self) -> Iterator[float]:
        """Yield for each second how many ports rest that were closed in the minute before."""
        closed = [0.0] * self._length
        for work, seconds in self._work.items():
            if work.kind in {Kind.RECONNECT, Kind.FAREWELL}:
                closed = [one + other for one, other in zip(closed, seconds, strict=True)]
        sums = [0.0, *accumulate(closed)]
        return (sums[second + 1] - sums[max(0, second + 1 - TIME_WAIT)] for second in range(self._length))

    def _add(self, work: Work, at: int, number: float = 1.0) -> None:
        seconds = self._work.setdefault(work, [0.0] * self._length)
        seconds[min(at // SECOND, self._length - 1)] += number

    def _arrive(self, name: str, at: int, number: float) -> None:
        """Let devices be connected from a moment on: for the rest of that second, and all of the next."""
        second = min(at // SECOND, self._length - 1)
        late = min(at / SECOND - second, 1.0)
        self._arriving[name][second] += number * (1 - late)
        self._arriving[name][second + 1] += number * late


def back_off(reconnect: Reconnect, source: Random, since: int, failures: int) -> Iterator[int]:
    """Yield when a device tries again whose every attempt fails: exponential back-off with full jitter."""
    at = since
    while True:
        at += round(source.random() * min(reconnect.most, reconnect.first << min(failures, 32)))
        yield at
        failures += 1


def pings(fleet: Fleet) -> float:
    """Return how often a second a device pings the broker: after half the keepalive in silence."""
    silence = fleet.keepalive // 2
    if not silence:
        return 0.0
    if fleet.telemetry is None:
        return SECOND / silence
    return (fleet.telemetry.every // silence) * SECOND / fleet.telemetry.every
