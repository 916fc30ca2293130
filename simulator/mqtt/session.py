"""One client session of MQTT 3.1.1 or 5.0, sans I/O: bytes in, events and bytes out.

The caller's contract: give each link's bytes to ``receive_data`` as they come, send ``data_to_send`` after
every verb and every ``receive_data``, and say ``connection_lost`` once when the link is gone, whatever ended
it. The session survives its links: after ``connection_lost`` comes the next ``connect``.

    IDLE ── connect ──> CONNECTING ── CONNACK ──> CONNECTED
     ^                      │ refused, violated        │ disconnect, DISCONNECT, violated
     │                      v                          v
     └─ connection_lost ─ CLOSED <─────────────────────┘       (connection_lost leads to IDLE from anywhere)

This module must not know sockets, TLS, time or asyncio. Clause numbers are those of MQTT 5.0 where both
versions have the statement.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Final, Protocol

from simulator.errors import ProtocolError
from simulator.mqtt import codec5, codec311
from simulator.mqtt.blocked import NotConnectedError
from simulator.mqtt.events import (
    Acknowledged,
    Connected,
    Disconnected,
    Event,
    Lost,
    Pong,
    Refused,
    Subscribed,
    Token,
    Unsubscribed,
    Violated,
)
from simulator.mqtt.packets import (
    ConnAck,
    Connect,
    Disconnect,
    Packet,
    PingResp,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    SubAck,
    Subscribe,
    UnsubAck,
    Unsubscribe,
)
from simulator.mqtt.reasons import Reason, connack_name, disconnect_name
from simulator.mqtt.receiving import Receiver
from simulator.mqtt.sending import IDENTIFIERS, PUBACK
from simulator.mqtt.wire import MAXIMUM_PACKET, frame
from simulator.scenario.kinds import MqttVersion

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from simulator.mqtt.options import SessionOptions
    from simulator.mqtt.packets import Subscription, Will

__all__ = ["Session", "SessionState"]

_PINGREQ: Final = b"\xc0\x00"
_PLAIN_PUBACK: Final = 0x4002_0000
"""A PUBACK without reason and properties, less its packet identifier (MQTT 3.4)."""

_number: Final = int.from_bytes
_UNHEARD: Final = 0x10  # Reason.NO_MATCHING_SUBSCRIBERS; a plain number is faster to compare
_NO_REQUEST: Final = (None, 0, None)


class SessionState(Enum):
    """Where a session is with its link."""

    IDLE = auto()
    CONNECTING = auto()
    CONNECTED = auto()
    CLOSED = auto()


class _Codec(Protocol):
    def read(self, buffer: bytes, start: int = 0, maximum: int = ...) -> tuple[Packet, int] | None: ...
    def write(self, packet: Packet) -> bytes: ...


_CODECS: Final[Mapping[MqttVersion, _Codec]] = {MqttVersion.V311: codec311, MqttVersion.V5: codec5}

_VIOLATIONS: Final = {
    "MQTT-3.1.2-24": Reason.PACKET_TOO_LARGE,
    "MQTT-3.1.2-27": Reason.TOPIC_ALIAS_INVALID,
    "MQTT-3.3.4-9": Reason.RECEIVE_MAXIMUM_EXCEEDED,
}
"""Broken clauses that have a reason code of their own in the DISCONNECT of 5.0."""


class Session(Receiver):
    """The client's side of a session; see the module for the contract.

    ``state``, ``client_id`` (5.0: as the server assigned it) and ``keepalive`` (seconds; 5.0: as the server
    wants it) are to be read only.
    """

    __slots__ = (
        "_codec",
        "_options",
        "_partial",
        "_password",
        "_pings",
        "_username",
        "_will",
        "client_id",
        "keepalive",
        "state",
    )

    def __init__(
        self,
        options: SessionOptions,
        client_id: str,
        *,
        will: Will | None = None,
        username: str | None = None,
        password: bytes | None = None,
    ) -> None:
        super().__init__(b"" if options.version is MqttVersion.V311 else b"\0")
        self._options = options
        self._codec = _CODECS[options.version]
        self._will = will
        self._username = username
        self._password = password
        self._partial: bytearray | None = None
        self._pings = 0
        self.client_id = client_id
        self.keepalive = options.keepalive
        self.state = SessionState.IDLE

    def connect(self) -> None:
        """Begin on a new link: CONNECT is the first packet (MQTT-3.1.0-1).

        ValueError is for a will or credentials that cannot be sent, RuntimeError for a session on a link.
        """
        if self.state is not SessionState.IDLE:
            raise RuntimeError("connect() begins on a new link: say connection_lost() for the old one first")
        self._out.append(self._codec.write(self._connect_packet()))
        self.state = SessionState.CONNECTING
        self.keepalive = self._options.keepalive
        self._ephemeral = self._ends_with_link(self._options.session_expiry)

    def _connect_packet(self) -> Connect:
        options = self._options
        both = Connect(
            self.client_id, options.clean_start, options.keepalive, self._will, self._username, self._password
        )
        if options.version is MqttVersion.V311:
            return both
        return both._replace(
            session_expiry=options.session_expiry,
            receive_maximum=options.receive_maximum,
            maximum_packet_size=options.maximum_packet_size,
            user_properties=options.user_properties,
        )

    def _ends_with_link(self, expiry: int) -> bool:
        if self._options.version is MqttVersion.V311:
            return self._options.clean_start  # MQTT-3.1.2-6 of 3.1.1
        return expiry == 0  # MQTT 5.0, 3.1.2.11.2

    def subscribe(self, subscriptions: Sequence[Subscription], token: Token = None) -> int:
        """Ask for subscriptions; return the packet identifier; ``Subscribed`` or ``Lost`` brings ``token``.

        CannotSendError says why the request cannot go now, ValueError that a filter or option is none.
        """
        identifier = self._request_identifier()
        self._request(Subscribe(identifier, tuple(subscriptions)), SubAck, len(subscriptions), token)
        return identifier

    def unsubscribe(self, filters: Sequence[str], token: Token = None) -> int:
        """End subscriptions; return the packet identifier; ``Unsubscribed`` or ``Lost`` brings ``token``.

        CannotSendError says why the request cannot go now, ValueError that a filter is none.
        """
        identifier = self._request_identifier()
        codes = len(filters) if self._properties else 0  # an UNSUBACK of 3.1.1 has none
        self._request(Unsubscribe(identifier, tuple(filters)), UnsubAck, codes, token)
        return identifier

    def ping(self) -> None:
        """Send PINGREQ; ``Pong`` is the answer."""
        self._insist_on_connection()
        self._pings += 1
        self._out.append(_PINGREQ)

    def disconnect(self, code: int = 0) -> None:
        """Say goodbye: send ``data_to_send()``, then close the link.

        ``code`` is for 5.0 only; with 4, ``DISCONNECT_WITH_WILL_MESSAGE``, the server publishes the will.
        """
        self._insist_on_connection()
        self._out.append(self._codec.write(Disconnect(code)))
        self._close()

    def take_puback(self, data: bytes) -> Token:
        """Take ``data`` if it is one plain PUBACK and nothing else; return the token of its publish.

        None where it is anything else, and then nothing was taken: ``receive_data`` is for it. This is what a
        load test gets nearly all of the time, and it costs a third of that.
        """
        if len(data) != 4 or not self.window or self._backlog or self._partial is not None:
            return None
        identifier = _number(data, "big") - _PLAIN_PUBACK
        entry = self._sent.get(identifier)
        if entry is None or entry[0] != PUBACK:
            return None
        token = entry[2]
        if token is not None:
            del self._sent[identifier]
        return token

    def receive_data(self, data: bytes) -> list[Event]:
        """Take bytes from the server and return what they mean; what they demand is in ``data_to_send()``.

        Nothing is raised for what a server does: if it breaks MQTT, ``Violated`` is the last event. After
        ``Refused``, ``Disconnected`` or ``Violated`` close the link; whatever else comes is ignored.
        """
        events: list[Event] = []
        at = self._take_pubacks(data, events)
        if at < len(data):
            try:
                for packet in self._packets(data, at):
                    self._take(packet, events)
            except ProtocolError as error:
                self._violated(error, events)
        return events

    def _take_pubacks(self, data: bytes, events: list[Event]) -> int:
        """Take the PUBACKs that ``data`` begins with, as far as they are plain, and return where they end.

        A load test spends its time here. ``_take`` would do the same with these packets, only several times
        slower. Plain are those without a reason, and those that say that nobody has subscribed (5.0).
        """
        at, size = 0, len(data)
        if not self.window or self._backlog or self._partial is not None:
            return at
        sent = self._sent
        while at + 4 <= size and data[at] == PUBACK:
            code, end = 0, at + 4
            if data[at + 1] != 2:
                if not (self._properties and end < size and data[at + 1] == 3 and data[end] == _UNHEARD):
                    break
                code, end = _UNHEARD, at + 5
            identifier = data[at + 2] << 8 | data[at + 3]
            entry = sent.get(identifier)
            if entry is None or entry[0] != PUBACK:
                break
            del sent[identifier]
            events.append(Acknowledged(entry[2], code))
            at = end
        return at

    def connection_lost(self) -> list[Event]:
        """Leave the link that is gone, whatever ended it.

        Return what is lost with it: requests always, publishes if the session ends too. Otherwise they wait
        for the next link, and are sent again there.
        """
        self.state = SessionState.IDLE
        self.window = 0
        self._out.clear()
        self._partial = self._backlog = None
        self._pings = 0
        lost: list[Event] = [Lost(token) for _, _, token in self._requests.values()]
        self._requests.clear()
        if self._ephemeral:
            lost += self._forget()
        return lost

    def _insist_on_connection(self) -> None:
        if self.state is not SessionState.CONNECTED:
            raise NotConnectedError("the session is not connected")

    def _request_identifier(self) -> int:
        self._insist_on_connection()
        return self._free_identifier()

    def _request(self, packet: Subscribe | Unsubscribe, answer: type, codes: int, token: Token) -> None:
        data = self._codec.write(packet)
        self._insist_on_support(data)
        self._requests[packet.packet_id] = (answer, codes, token)
        self._identifier = packet.packet_id % IDENTIFIERS
        self._out.append(data)

    def _close(self) -> None:
        self.state = SessionState.CLOSED
        self.window = 0
        self._partial = None

    def _packets(self, data: bytes, at: int) -> Iterator[Packet]:
        """Cut packets from what has come, and keep the incomplete one at the end for next time."""
        maximum = self._options.maximum_packet_size or MAXIMUM_PACKET
        if self._partial is not None:
            self._partial += data
            if frame(self._partial, 0, maximum) is None:
                return
            data = bytes(self._partial)
            self._partial = None
        while at < len(data) and self.state is not SessionState.CLOSED:
            found = self._codec.read(data, at, maximum)
            if found is None:
                self._partial = bytearray(data[at:])
                return
            packet, nbytes = found
            at += nbytes
            yield packet

    def _take(self, packet: Packet, events: list[Event]) -> None:
        if self.state is not SessionState.CONNECTING:
            self._take_connected(packet, events)
        elif isinstance(packet, ConnAck):
            self._on_connack(packet, events)
        else:
            raise ProtocolError("a packet came before CONNACK", clause="MQTT-3.2.0-1")

    def _take_connected(self, packet: Packet, events: list[Event]) -> None:
        match packet:
            case PubAck():
                self._on_puback(packet, events)
            case Publish():
                self._on_publish(packet, self._options.receive_maximum, events)
            case PubRec() | PubRel() | PubComp():
                self._take_exactly_once(packet, events)
            case SubAck():
                events.append(Subscribed(self._answered(packet), packet.codes))
            case UnsubAck():
                events.append(Unsubscribed(self._answered(packet), packet.codes))
            case PingResp():
                self._on_pingresp(events)
            case Disconnect():
                self._on_disconnect(packet, events)
            case ConnAck():
                raise ProtocolError("a second CONNACK came", clause="MQTT-3.2.0-2")
            case _:
                raise ProtocolError(f"a server must not send {type(packet).__name__} to a connected client")

    def _take_exactly_once(self, packet: PubRec | PubRel | PubComp, events: list[Event]) -> None:
        match packet:
            case PubRec():
                self._on_pubrec(packet, events)
            case PubRel():
                self._on_pubrel(packet)
            case _:
                self._on_pubcomp(packet, events)

    def _on_pingresp(self, events: list[Event]) -> None:
        if self._pings:  # nothing forbids a server to send more of them than were asked for
            self._pings -= 1
            events.append(Pong())

    def _violated(self, error: ProtocolError, events: list[Event]) -> None:
        """Leave as MQTT 5.0, 4.13 wants it: say why, then close; 3.1.1 only closes (its MQTT-4.8.0-1)."""
        if self._properties and self.state is SessionState.CONNECTED:
            code = _VIOLATIONS.get(error.clause or "", Reason.PROTOCOL_ERROR)
            self._out.append(self._codec.write(Disconnect(code)))
        self._close()
        events.append(Violated(error))

    def _on_connack(self, packet: ConnAck, events: list[Event]) -> None:
        if packet.code:
            self._close()
            name = connack_name(packet.code)
            events.append(Refused(packet.code, name, packet.reason_string, packet.server_reference))
            return
        if packet.session_present and self._options.clean_start:
            raise ProtocolError(
                "the server has kept a session that was to start clean", clause="MQTT-3.2.2-2"
            )
        self._apply(packet)
        self.state = SessionState.CONNECTED
        events.append(Connected(packet.session_present, packet))
        if packet.session_present:
            self._redeliver(events)
        else:  # MQTT-3.2.2-5: the server has nothing of ours, so what we kept can no longer be continued
            events += self._forget()

    def _apply(self, packet: ConnAck) -> None:
        """Take over what the server says in CONNACK (5.0)."""
        self.window = min(self._options.inflight_maximum, packet.receive_maximum)  # MQTT-3.3.4-7
        if packet.server_keepalive is not None:  # MQTT-3.2.2-21
            self.keepalive = packet.server_keepalive
        if packet.session_expiry is not None:  # MQTT 5.0, 3.2.2.3.2
            self._ephemeral = self._ends_with_link(packet.session_expiry)
        if packet.assigned_client_id is not None:  # MQTT-3.2.2-16
            self.client_id = packet.assigned_client_id
        self._limits = packet if _limiting(packet) else None

    def _answered(self, packet: SubAck | UnsubAck) -> Token:
        """Return the token of the request that is answered, with a code for each filter (MQTT-3.8.4-6)."""
        answer, codes, token = self._requests.get(packet.packet_id, _NO_REQUEST)
        if answer is not type(packet) or codes != len(packet.codes):
            name = type(packet).__name__
            raise ProtocolError(
                f"{name} {packet.packet_id} answers nothing that was asked", clause="MQTT-3.8.4-2"
            )
        del self._requests[packet.packet_id]
        return token

    def _on_disconnect(self, packet: Disconnect, events: list[Event]) -> None:
        if not self._properties:
            raise ProtocolError("a server must not send DISCONNECT in 3.1.1")
        self._close()
        name = disconnect_name(packet.code)
        events.append(Disconnected(packet.code, name, packet.reason_string, packet.server_reference))


def _limiting(packet: ConnAck) -> bool:
    """Tell whether a server takes less than MQTT allows; most take everything."""
    return packet.maximum_qos < 2 or not packet.retain_available or packet.maximum_packet_size is not None
