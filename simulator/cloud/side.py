"""The cloud's side of one fleet: who observes it, who commands it, or both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.scenario.template import fill

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TypeAlias

    from simulator.cloud.commander import Commander
    from simulator.cloud.observer import Observer
    from simulator.metrics.ledger import Ledger
    from simulator.scenario.model import Fleet

    Handler: TypeAlias = Callable[[bytes, int], bool]

__all__ = ["Side"]


class Side:
    """The ear of a fleet's devices. ``devices`` are their names, in order."""

    def __init__(
        self,
        name: str,
        fleet: Fleet,
        devices: Sequence[str],
        observer: Observer | None,
        commander: Commander | None,
    ) -> None:
        self._name = name
        self._fleet = fleet
        self.devices = devices
        self.observer = observer
        self.commander = commander

    def said(self, device: str, counter: int, qos: int, due: int, started: int) -> None:
        """Take that a device has published its counter-th message of telemetry."""
        if self.observer is not None:
            self.observer.said(device, counter, qos, due, started)

    def unanswered(self, device: str, started: int) -> None:
        """Take that what a device sent at that time will not be acknowledged any more."""
        for ledger in self.heard:
            ledger.unconfirmed(device, started)

    def told(self, device: str, number: int, at: int, answered: int | None) -> None:
        """Take that a device got a command, and when it began to answer; None where it could not."""
        if self.commander is not None:
            self.commander.told(device, number, at, answered)

    def routes(self) -> Iterator[tuple[str, Handler]]:
        """Yield each topic that the fleet publishes to, and who takes what comes there."""
        for device in self.devices:
            names = {"device": device, "fleet": self._name}
            if self.observer is not None and self._fleet.telemetry is not None:
                yield fill(self._fleet.telemetry.topic, names), self.observer.heard
            if self.commander is not None and self._fleet.commands is not None:
                yield fill(self._fleet.commands.answer, names), self.commander.answered

    @property
    def heard(self) -> list[Ledger]:
        """The ledgers of what the cloud hears; that of commands is of what devices hear."""
        ledgers = [self.observer.ledger] if self.observer is not None else []
        return [*ledgers, self.commander.answers] if self.commander is not None else ledgers

    @property
    def ledgers(self) -> list[Ledger]:
        """All ledgers of the fleet."""
        return [*self.heard, self.commander.commands] if self.commander is not None else self.heard
