"""The publishing half of a device: telemetry when it is due, and answers to commands.

It is what a load test spends its time on. It must not know how the device connects, or why it leaves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.clock import now
from simulator.devices import command, noise
from simulator.devices.device import DeviceState
from simulator.mqtt.blocked import CannotSendError
from simulator.scenario.template import fill

if TYPE_CHECKING:
    from simulator.devices.context import FleetContext
    from simulator.link.link import Link
    from simulator.mqtt.events import Message
    from simulator.mqtt.session import Session

__all__ = ["Publisher"]

CONNECTED = DeviceState.CONNECTED
"""Asked for every message: a name of the module is found faster than one of an enumeration."""


class Publisher:
    """Says what a device has to say, while it has a link."""

    # What every message needs is here, so that it lies together in memory: among thousands of devices, little
    # of one is still in the processor's cache when its next message is due.
    __slots__ = (
        "_context",
        "_counter",
        "_grid",
        "_link",
        "_seed",
        "_sent_at",
        "_session",
        "_stays_away",
        "_telemetry_on",
        "_topic",
        "_turn",
        "name",
        "state",
    )

    def __init__(self, name: str, index: int, session: Session, context: FleetContext) -> None:
        self.name = name
        self.state = DeviceState.IDLE
        self._context = context
        self._session = session
        self._link: Link | None = None
        self._seed = noise.seed_of(context.seed, context.name, index)
        self._topic = fill(context.topic, {"device": name, "fleet": context.name})
        self._counter = self._turn = self._grid = self._sent_at = 0
        self._telemetry_on = self._stays_away = False

    def publish(self, due: int, qos: int | None = None) -> None:
        """Publish one telemetry message, at the telemetry's own QoS unless another is given."""
        context = self._context
        counts = context.messages
        counts.due += 1
        link = self._link
        if link is None or self.state is not CONNECTED:
            counts.offline += 1
            return
        if qos is None:
            qos = context.qos
        if not qos and link.backed_up:  # nothing else would ever stop it: QoS 0 is never acknowledged
            counts.dropped += 1
            return
        payload = context.payload(self.name, self._seed, self._counter + 1, due + context.wall_offset)
        started = now()
        try:
            packet = self._session.publication(self._topic, payload, qos, context.retain, (due, started))
        except CannotSendError:
            counts.dropped += 1
            return
        self._counter += 1
        link.send(packet)
        counts.started += 1
        self._sent_at = started
        if not qos:
            context.publish_ok((due, started, now()))
        if context.ear is not None:
            context.ear.said(self.name, self._counter, qos, due, started)

    def _report_from(self, due: int) -> None:
        """Lay out telemetry from when the device was to connect: what is due must not wait for the broker."""
        context = self._context
        if context.every and not self._telemetry_on:
            self._telemetry_on = True
            self._grid = due + round(noise.share(self._seed, noise.FIRST_MESSAGE) * context.every)
            context.pacer.at(self._grid, self._telemetry_due)

    def _telemetry_due(self, due: int) -> int | None:
        context = self._context
        if context.finishing or self._stays_away:
            self._telemetry_on = False
            return None
        self.publish(due)
        if not context.jitter:
            return due + context.every
        self._turn += 1
        self._grid += context.every
        swing = 2 * noise.share(self._seed, noise.JITTER + self._turn) - 1
        return max(due, self._grid + round(swing * context.jitter))  # in order, however wide the swing

    def _told(self, message: Message, received: int) -> None:
        """Answer a command from the cloud; what else a device is told, the session has acknowledged."""
        context, commands = self._context, self._context.fleet.commands
        number = command.commanded(message.payload)
        names = {"device": self.name, "fleet": context.name}
        if commands is None or number is None or message.topic != fill(commands.topic, names):
            return
        answered = self._answer(fill(commands.answer, names), number, commands.qos, received)
        if context.ear is not None:
            context.ear.told(self.name, number, received, answered)

    def _answer(self, topic: str, number: int, qos: int, due: int) -> int | None:
        """Publish an answer, which goes out with the acknowledgement; return when, None where it cannot."""
        counts = self._context.messages
        counts.due += 1
        started = now()
        try:
            self._session.publish(
                topic, command.answer(self.name, number), qos, retain=False, token=(due, started)
            )
        except CannotSendError:
            counts.dropped += 1
            return None
        counts.started += 1
        self._sent_at = started
        if not qos:
            self._context.publish_ok((due, started, now()))
        return started
