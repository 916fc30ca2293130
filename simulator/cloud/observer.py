"""The observer of one fleet's telemetry: holds what is heard against what its devices have said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.devices.reading import reader_of
from simulator.metrics.ledger import Ledger, Sent
from simulator.metrics.sample import Phase

if TYPE_CHECKING:
    from collections.abc import Collection

    from simulator.metrics.recorder import Recorder
    from simulator.scenario.model import Telemetry

__all__ = ["Observer"]


class Observer:
    """Hears one fleet. ``wall_offset`` is that of the machine that its devices run on."""

    def __init__(
        self,
        fleet: str,
        telemetry: Telemetry,
        devices: Collection[str],
        recorder: Recorder,
        wall_offset: int,
    ) -> None:
        self._devices = frozenset(devices)
        self._wall_offset = wall_offset
        self._read = reader_of(telemetry, fleet)
        self._ok = recorder.series(fleet, Phase.DELIVER).ok.append
        self.ledger = Ledger(fleet, Phase.DELIVER, lambda qos: recorder.deliveries(fleet, Phase.DELIVER, qos))

    def said(self, device: str, counter: int, qos: int, due: int, started: int) -> None:
        """Take that a device has published a message."""
        self.ledger.sent(device, counter, Sent(qos, due, started))

    def heard(self, payload: bytes, at: int) -> bool:
        """Take a message from the broker; tell whether it is one of this fleet's."""
        reading = self._read(payload)
        if reading is None or reading.device not in self._devices:
            return False
        due = reading.due - self._wall_offset
        message = self.ledger.heard(reading.device, reading.counter, at, due=due)
        if message is not None:
            self._ok((message.due, message.started, at))
        return True
