"""The timetable of a run: which device does what, and when, laid out from the scenario alone.

Every shard computes the same timetable and keeps to its own devices, so that the union over any number of
shards is the same load. It is pure: offsets are nanoseconds from the start of the run, and nothing here
waits or measures.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import count, cycle, islice
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from simulator.arrival import arrivals
from simulator.clock import SECOND
from simulator.scenario.kinds import ArrivalKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulator.scenario.model import (
        Commanding,
        Connect,
        Disconnection,
        Publishing,
        Reconnection,
        Revoking,
        Scenario,
        Stage,
    )

__all__ = ["Action", "Call", "Part", "StageTimes", "Verb", "timetable"]


class Verb(StrEnum):
    """What a device is asked to do."""

    CONNECT = "connect"
    RECONNECT = "reconnect"
    DISCONNECT = "disconnect"
    PUBLISH = "publish"


@dataclass(frozen=True, slots=True)
class Part:
    """Which part of the whole load: the index-th of count, with every count-th device from there on."""

    index: int = 0
    count: int = 1

    def owns(self, device: int) -> bool:
        """Tell whether a device, by its index in its fleet, belongs to this part."""
        return device % self.count == self.index


class Call(NamedTuple):
    """One device, by its index in its fleet, is asked at one time."""

    at: int
    device: int


@dataclass(frozen=True, slots=True)
class Action:
    """One action of one stage, by devices or, with commands, towards them.

    Iterating it yields its calls in the order of time, afresh each time.
    """

    verb: Verb
    fleet: str
    times: tuple[int, ...]
    devices: tuple[int, ...]
    abrupt: bool = False
    publishing: Publishing | Commanding | None = None
    window: tuple[int, int] = (0, 0)
    seed: str = ""

    def __iter__(self) -> Iterator[Call]:
        return self.calls(Part())

    def calls(self, part: Part) -> Iterator[Call]:
        """Yield the calls of the devices that a part owns."""
        if self.publishing is None:
            pairs = zip(self.times, self.devices, strict=True)
            return (Call(at, device) for at, device in pairs if part.owns(device))
        return self._publishes(self.publishing, part)

    def _publishes(self, publishing: Publishing | Commanding, part: Part) -> Iterator[Call]:
        """Spread messages over the devices in turn, from the start of the stage to its end."""
        start, end = self.window
        places = [place for place, device in enumerate(self.devices) if part.owns(device)]
        if not places:
            return
        own = cycle([self.devices[place] for place in places])
        process = arrivals(
            publishing.arrivals,
            publishing.rate,
            Random(self.seed),
            start=publishing.from_rate,
            over=end - start,
            size=publishing.size or 1,
            numbers=(turn + place for turn in count(0, len(self.devices)) for place in places),
        )
        for offset, device in zip(process, own, strict=False):
            if start + offset >= end:
                return
            yield Call(start + offset, device)


@dataclass(frozen=True, slots=True)
class StageTimes:
    """A stage with its start and end, its actions, and its outage as a window in which the broker is away.

    ``revoke`` is for whoever runs the fleets' authorities, at the start of the stage; ``command`` is for
    whoever sends commands.
    """

    name: str
    start: int
    end: int
    actions: tuple[Action, ...]
    outage: tuple[int, int] | None = None
    revoke: Revoking | None = None
    command: Action | None = None


def timetable(scenario: Scenario) -> tuple[StageTimes, ...]:
    """Lay out all stages of a scenario, one after the other."""
    layout = _Layout(scenario)
    return tuple(layout.stage(number, stage) for number, stage in enumerate(scenario.stages))


class _Layout:
    """Walks through the stages and keeps which devices are meant to be connected."""

    def __init__(self, scenario: Scenario) -> None:
        self._seed = scenario.seed
        self._at = 0
        self._absent = {name: list(range(fleet.devices)) for name, fleet in scenario.fleets.items()}
        self._present: dict[str, list[int]] = {name: [] for name in scenario.fleets}
        self._sizes = {name: fleet.devices for name, fleet in scenario.fleets.items()}

    def stage(self, number: int, stage: Stage) -> StageTimes:
        """Return the next stage; it lasts as long as it says, and at least until its last device is asked."""
        start, seed = self._at, f"{self._seed}/{number}"
        actions = []
        if stage.connect:
            actions.append(self._connect(stage.connect, f"{seed}/connect"))
        if stage.reconnect:
            actions.append(self._reconnect(stage.reconnect, f"{seed}/reconnect"))
        if stage.disconnect:
            actions.append(self._disconnect(stage.disconnect, f"{seed}/disconnect"))
        last = max((action.times[-1] for action in actions if action.times), default=start)
        self._at = end = max(start + (stage.duration or 0), last)
        if stage.publish:
            actions.append(self._publish(stage.publish, (start, end), f"{seed}/publish"))
        outage = (start, start + stage.outage) if stage.outage else None
        command = self._command(stage.command, (start, end), f"{seed}/command") if stage.command else None
        return StageTimes(stage.name, start, end, tuple(actions), outage, stage.revoke, command)

    def _connect(self, connect: Connect, seed: str) -> Action:
        absent = self._absent[connect.fleet]
        devices = tuple(absent[: self._number(connect.fleet, connect.share)])
        del absent[: len(devices)]
        self._present[connect.fleet] += devices
        return Action(
            Verb.CONNECT, connect.fleet, self._times(connect, connect.rate, len(devices), seed), devices
        )

    def _reconnect(self, reconnect: Reconnection, seed: str) -> Action:
        devices = self._draw(reconnect.fleet, reconnect.share, seed)
        if reconnect.within is not None:
            times = self._times_within(reconnect.within, len(devices), reconnect.arrivals, seed)
        else:
            times = self._times(reconnect, reconnect.rate or 1.0, len(devices), seed)
        return Action(Verb.RECONNECT, reconnect.fleet, times, devices, reconnect.abrupt)

    def _disconnect(self, disconnect: Disconnection, seed: str) -> Action:
        devices = self._draw(disconnect.fleet, disconnect.share, seed)
        gone = set(devices)
        self._present[disconnect.fleet] = [
            each for each in self._present[disconnect.fleet] if each not in gone
        ]
        self._absent[disconnect.fleet] = sorted((*self._absent[disconnect.fleet], *devices))
        within = disconnect.within or round(len(devices) * SECOND / (disconnect.rate or 1.0))
        times = self._times_within(within, len(devices), ArrivalKind.CONSTANT, seed)
        return Action(Verb.DISCONNECT, disconnect.fleet, times, devices)

    def _publish(self, publish: Publishing, window: tuple[int, int], seed: str) -> Action:
        devices = tuple(self._present[publish.fleet])
        return Action(Verb.PUBLISH, publish.fleet, (), devices, publishing=publish, window=window, seed=seed)

    def _command(self, command: Commanding, window: tuple[int, int], seed: str) -> Action:
        devices = self._draw(command.fleet, command.share, f"{seed}/devices")
        return Action(Verb.PUBLISH, command.fleet, (), devices, publishing=command, window=window, seed=seed)

    def _number(self, fleet: str, share: float) -> int:
        return round(self._sizes[fleet] * share)

    def _draw(self, fleet: str, share: float, seed: str) -> tuple[int, ...]:
        """Draw devices that are meant to be connected, by chance and always the same ones for a seed."""
        present = self._present[fleet]
        return tuple(Random(seed).sample(present, min(len(present), self._number(fleet, share))))

    def _times(self, action: Connect | Reconnection, rate: float, number: int, seed: str) -> tuple[int, ...]:
        over = round(2 * number * SECOND / (action.from_rate + rate))
        process = arrivals(
            action.arrivals,
            rate,
            Random(seed),
            start=action.from_rate,
            over=max(over, 1),
            size=action.size or 1,
        )
        return tuple(self._at + offset for offset in islice(process, number))

    def _times_within(self, within: int, number: int, kind: ArrivalKind, seed: str) -> tuple[int, ...]:
        """Lay all out within a time: evenly, or like a Poisson process of which the number is known."""
        if kind is ArrivalKind.POISSON:
            source = Random(seed)
            return tuple(sorted(self._at + round(source.random() * within) for _ in range(number)))
        return tuple(self._at + within * place // number for place in islice(count(), number))
