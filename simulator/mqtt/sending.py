"""The sending half of a session: packet identifiers, publishes that await their answer, redelivery.

What is remembered of a publish is its bytes, so that sending it again takes no more than the DUP flag. A
PUBLISH without properties differs between the versions by one byte, and is made here for both, because that
is what a load test spends its time on. This module must not know sockets, time or a codec.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from simulator.errors import ProtocolError
from simulator.mqtt.blocked import (
    CannotSendError,
    IdentifiersExhaustedError,
    NotConnectedError,
    QuotaExceededError,
    UnsupportedError,
)
from simulator.mqtt.events import Acknowledged, Event, Lost, PublishRefused, Token
from simulator.mqtt.reasons import Reason, reason_name
from simulator.mqtt.wire import check_topic, length, text, u16

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator.mqtt.packets import ConnAck, PubAck, PubComp, PubRec

__all__ = ["IDENTIFIERS", "Sender"]

IDENTIFIERS: Final = 65535
"""How many packet identifiers there are: 1 to 65,535 (MQTT 2.2.1)."""

PUBLISH: Final = 0x30
PUBACK: Final = 0x40
PUBREC: Final = 0x50
PUBREL: Final = 0x62
PUBCOMP: Final = 0x70

_FAILURE: Final = 0x80
_NEVER_AGAIN: Final = b""
"""Instead of the bytes of a publish that is forgotten with its link: a session need not keep them."""

_Answer = TypeVar("_Answer")
_Kept = TypeVar("_Kept")

_Sent: TypeAlias = tuple[int, bytes, Token]
"""The first byte of the answer that is due, the bytes to send again, and the caller's token."""


class Sender:
    """Publishes, and remembers what it published until that is answered, across links if the session lasts.

    ``window`` is how many publishes of QoS 1 and 2 may await their answer: 0 unless the session is connected.
    """

    __slots__ = (
        "_backlog",
        "_ephemeral",
        "_identifier",
        "_limits",
        "_out",
        "_properties",
        "_requests",
        "_sent",
        "_topic",
        "_topic_field",
        "window",
    )

    def __init__(self, properties: bytes) -> None:
        self.window = 0
        self._properties = properties  # how a PUBLISH says "no properties": nothing in 3.1.1, a zero in 5.0
        self._out: list[bytes] = []
        self._sent: dict[int, _Sent] = {}
        self._requests: dict[int, tuple[type, int, Token]] = {}
        self._backlog: list[int] | None = None
        self._ephemeral = False
        """Whether the session ends with its link, so that nothing is ever sent again."""
        self._identifier = 0
        self._limits: ConnAck | None = None
        self._topic: str | None = None
        self._topic_field = b""

    @property
    def inflight(self) -> int:
        """How many publishes of QoS 1 and 2 have no final answer yet."""
        return len(self._sent)

    @property
    def awaited(self) -> list[Token]:
        """The tokens of these publishes, in the order in which they were sent."""
        return [token for _, _, token in self._sent.values() if token is not None]

    def disown(self, unwanted: Callable[[Token], bool]) -> list[Token]:
        """Wait no more for the answers to requests with such tokens; return these, which no event will bring.

        An answer may still come, so its identifier stays in use (MQTT-2.2.1-3), and a publish is sent again
        as others are.
        """
        return [*_disown(self._sent, unwanted), *_disown(self._requests, unwanted)]

    def data_to_send(self) -> bytes:
        """Return the bytes that are to go to the server, once; ``b""`` when there are none."""
        out = self._out
        if len(out) == 1:
            return out.pop()
        data = b"".join(out)
        out.clear()
        return data

    def publish(
        self, topic: str, payload: bytes, qos: int = 0, retain: bool = False, token: Token = None
    ) -> int | None:
        """Publish a message; return its packet identifier, or None for QoS 0, which is never answered.

        ``token`` comes back in ``Acknowledged``, ``PublishRefused`` or ``Lost``. CannotSendError says why the
        message cannot go now; ValueError is for a topic, QoS or size that MQTT does not know.
        """
        self._out.append(self.publication(topic, payload, qos, retain, token))
        return self._identifier or IDENTIFIERS if qos else None

    def publication(
        self, topic: str, payload: bytes, qos: int = 0, retain: bool = False, token: Token = None
    ) -> bytes:
        """Publish as ``publish`` does, but return the bytes, which are to be sent before any others."""
        # A load test spends its time here, at QoS 1, so what is rare is a method of its own.
        if topic != self._topic:
            self._use_topic(topic)
        variable, properties = self._topic_field, self._properties
        if qos:
            answer, sent = PUBACK if qos == 1 else _exactly_once(qos), self._sent
            identifier = self._identifier + 1
            if len(sent) >= self.window or identifier in sent or self._requests:
                identifier = self._publish_identifier()
            variable += identifier.to_bytes(2, "big")
        elif not self.window:
            raise self._blocked()
        size = len(variable) + len(properties) + len(payload)
        data = _fixed_header(PUBLISH | qos << 1 | retain, size) + variable + properties + payload
        if self._limits is not None:
            self._insist_on_support(data)
        if qos:
            self._identifier = identifier % IDENTIFIERS
            sent[identifier] = (answer, _NEVER_AGAIN if self._ephemeral else data, token)
        return data

    def _use_topic(self, topic: str) -> None:
        # A device publishes to the same topic most of the time: the bytes of the last one are kept.
        self._topic_field = text(check_topic(topic))
        self._topic = topic

    def _insist_on_support(self, data: bytes) -> None:
        limits = self._limits
        refusal = None if limits is None else _unsupported(data, limits)
        if refusal is not None:
            raise UnsupportedError(refusal)

    def _blocked(self) -> CannotSendError:
        if not self.window:
            return NotConnectedError("the session is not connected")
        if len(self._sent) >= IDENTIFIERS:
            return IdentifiersExhaustedError(f"all {IDENTIFIERS} packet identifiers await an answer")
        return QuotaExceededError(f"{len(self._sent)} messages await an answer, and {self.window} may")

    def _publish_identifier(self) -> int:
        if len(self._sent) >= self.window:
            raise self._blocked()
        return self._free_identifier()

    def _free_identifier(self) -> int:
        """Find an identifier that nothing holds (MQTT-2.2.1-3), going round so that each rests for long."""
        around = chain(range(self._identifier + 1, IDENTIFIERS + 1), range(1, self._identifier + 1))
        for identifier in around:
            if identifier not in self._sent and identifier not in self._requests:
                return identifier
        raise IdentifiersExhaustedError(f"all {IDENTIFIERS} packet identifiers await an answer")

    def _acknowledge(self, first: int, identifier: int, code: int = 0) -> None:
        # The code is left out where it is 0 (MQTT 5.0, 3.4.2.1), and by 3.1.1, which has none.
        if code and self._properties:
            self._out.append(bytes((first, 3)) + u16(identifier) + bytes((code,)))
        else:
            self._out.append(bytes((first, 2)) + u16(identifier))

    def _on_puback(self, packet: PubAck, events: list[Event]) -> None:
        entry = self._entry(packet.packet_id, PUBACK)
        if entry is not None:
            self._settle(packet, entry, events)

    def _on_pubrec(self, packet: PubRec, events: list[Event]) -> None:
        identifier = packet.packet_id
        entry = self._entry(identifier, PUBREC, PUBCOMP)
        if entry is None:
            # MQTT 5.0, 4.3.3: answered all the same, or the server could never forget it.
            self._acknowledge(PUBREL, identifier, Reason.PACKET_IDENTIFIER_NOT_FOUND)
        elif entry[0] == PUBCOMP:  # asked again
            self._out.append(entry[1])
        elif packet.code >= _FAILURE:  # MQTT-4.3.3-4: no PUBREL follows
            self._settle(packet, entry, events)
        else:
            # To the end: PUBRELs are sent again in the order in which their PUBRECs came (MQTT-4.6.0-4).
            del self._sent[identifier]
            self._acknowledge(PUBREL, identifier)
            self._sent[identifier] = (PUBCOMP, self._out[-1], entry[2])

    def _on_pubcomp(self, packet: PubComp, events: list[Event]) -> None:
        entry = self._entry(packet.packet_id, PUBCOMP)
        if entry is not None:
            # "Packet identifier not found" here means that the server was done before: the message was taken.
            self._settle(packet._replace(code=0), entry, events)

    def _entry(self, identifier: int, *expected: int) -> _Sent | None:
        """Find the publish that an answer belongs to. An answer to nothing is no error in either version."""
        entry = self._sent.get(identifier)
        if entry is not None and entry[0] not in expected:
            raise ProtocolError(
                f"the answer to packet {identifier} is of the wrong kind", clause="MQTT-3.3.4-1"
            )
        return entry

    def _settle(self, packet: PubAck | PubRec | PubComp, entry: _Sent, events: list[Event]) -> None:
        del self._sent[packet.packet_id]
        code, token = packet.code, entry[2]
        if code < _FAILURE:
            events.append(Acknowledged(token, code))
        else:
            events.append(PublishRefused(token, code, reason_name(code), packet.reason_string))
        self._resend()

    def _redeliver(self, events: list[Event]) -> None:
        """Send again what an earlier link left unanswered (MQTT-4.4.0-1), if the server still takes it."""
        limits = self._limits
        for identifier, (_, data, token) in list(self._sent.items()):
            if limits is not None and _unsupported(data, limits):
                del self._sent[identifier]
                events.append(Lost(token))
        self._backlog = list(reversed(self._sent))
        self._resend()

    def _resend(self) -> None:
        """Send the backlog in its order (MQTT-4.6.0-1), never more than the window at once (MQTT-3.3.4-7)."""
        while self._backlog and len(self._sent) - len(self._backlog) < self.window:
            entry = self._sent.get(self._backlog.pop())
            if entry is not None:  # a server may answer what it has not been sent again
                self._out.append(entry[1] if entry[0] == PUBCOMP else _duplicate(entry[1]))

    def _forget(self) -> list[Event]:
        """Drop all that awaits an answer, and say whose it was."""
        lost: list[Event] = [Lost(entry[2]) for entry in self._sent.values()]
        self._sent.clear()
        self._backlog = None
        return lost


def _disown(
    requests: dict[int, tuple[_Answer, _Kept, Token]], unwanted: Callable[[Token], bool]
) -> list[Token]:
    tokens = []
    for identifier, (answer, kept, token) in requests.items():
        if token is not None and unwanted(token):
            requests[identifier] = (answer, kept, None)
            tokens.append(token)
    return tokens


@lru_cache(4096)
def _fixed_header(first: int, size: int) -> bytes:
    """Return the fixed header of a packet (MQTT 2.1); few sizes occur, and each very often."""
    return bytes((first,)) + length(size)


def _exactly_once(qos: int) -> int:
    if qos != 2:
        raise ValueError(f"there is no QoS {qos}")  # MQTT-3.3.1-4
    return PUBREC


def _duplicate(data: bytes) -> bytes:
    return bytes((data[0] | 0x08,)) + data[1:]  # MQTT-3.3.1-1


def _unsupported(data: bytes, limits: ConnAck) -> str | None:
    """Say why the server does not take the packet in ``data``; None if it does."""
    if limits.maximum_packet_size is not None and len(data) > limits.maximum_packet_size:  # MQTT-3.2.2-15
        return f"a packet of {len(data)} bytes is over the {limits.maximum_packet_size} that the server takes"
    if data[0] & 0xF0 != PUBLISH:
        return None
    if data[0] >> 1 & 3 > limits.maximum_qos:  # MQTT-3.2.2-11
        return f"the server takes QoS {limits.maximum_qos} at most"
    if data[0] & 1 and not limits.retain_available:  # MQTT-3.2.2-14
        return "the server takes no retained messages"
    return None
