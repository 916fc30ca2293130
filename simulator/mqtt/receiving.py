"""The receiving half of a session: messages from the server, each QoS 2 message once.

This module must not know bytes of packets other than plain acknowledgements, nor subscriptions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.errors import ProtocolError
from simulator.mqtt.events import Event, Message
from simulator.mqtt.reasons import Reason
from simulator.mqtt.sending import PUBACK, PUBCOMP, PUBREC, Sender

if TYPE_CHECKING:
    from simulator.mqtt.packets import Publish, PubRel

__all__ = ["Receiver"]


class Receiver(Sender):
    """Answers what the server publishes, and remembers identifiers of QoS 2 until they are released."""

    __slots__ = ("_received",)

    def __init__(self, properties: bytes) -> None:
        super().__init__(properties)
        self._received: set[int] | None = None  # most devices never receive QoS 2

    def _on_publish(self, packet: Publish, maximum: int, events: list[Event]) -> None:
        if packet.topic_alias is not None:
            raise ProtocolError("a topic alias came, though none was offered", clause="MQTT-3.1.2-27")
        identifier = packet.packet_id
        if identifier is not None and packet.qos == 1:
            self._acknowledge(PUBACK, identifier)  # MQTT-4.3.2-4
        elif identifier is not None and not self._first_time(identifier, maximum):
            return
        topic, payload, qos, retain, _, duplicate, _, user_properties = packet
        events.append(Message(topic, payload, qos, retain, duplicate, user_properties))

    def _first_time(self, identifier: int, maximum: int) -> bool:
        """Answer a QoS 2 message; False if it has been delivered already (MQTT-4.3.3-10)."""
        if self._received is None:
            self._received = set()
        first_time = identifier not in self._received
        if first_time and len(self._received) >= maximum:
            raise ProtocolError("more messages came than the receive maximum allows", clause="MQTT-3.3.4-9")
        self._received.add(identifier)
        self._acknowledge(PUBREC, identifier)  # MQTT-4.3.3-8
        return first_time

    def _on_pubrel(self, packet: PubRel) -> None:
        if self._received is not None and packet.packet_id in self._received:
            self._received.remove(packet.packet_id)
            self._acknowledge(PUBCOMP, packet.packet_id)  # MQTT-4.3.3-11
        else:  # the server asks again because our first answer never arrived
            self._acknowledge(PUBCOMP, packet.packet_id, Reason.PACKET_IDENTIFIER_NOT_FOUND)

    def _forget(self) -> list[Event]:
        self._received = None
        return super()._forget()
