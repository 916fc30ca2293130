"""A small MQTT server made of the codec, for one client: what a session is run against, back to back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from simulator.mqtt import codec5, codec311
from simulator.mqtt.events import Violated
from simulator.mqtt.options import SessionOptions
from simulator.mqtt.packets import (
    ConnAck,
    Connect,
    Disconnect,
    Packet,
    PingReq,
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
from simulator.mqtt.session import Session
from simulator.scenario.kinds import MqttVersion

if TYPE_CHECKING:
    from simulator.errors import ProtocolError
    from simulator.mqtt.events import Event
    from simulator.mqtt.session import SessionState


V311, V5 = MqttVersion.V311, MqttVersion.V5
both = pytest.mark.parametrize("version", [V311, V5])


class Server:
    """Keeps a session as the standard asks, and everything that it took, in ``taken``."""

    def __init__(self, version: MqttVersion, connack: ConnAck | None = None) -> None:
        self.version = version
        self.codec = codec311 if version is MqttVersion.V311 else codec5
        self.connack = connack or ConnAck()
        self.packets: list[Packet] = []
        self.taken: list[Publish] = []
        self.connect: Connect | None = None
        self._buffer = b""
        self._out = b""
        self._kept = False
        self._held: set[int] = set()
        self._owed: dict[int, Publish | PubRel] = {}
        self._identifier = 0

    def receive(self, data: bytes) -> None:
        self._buffer += data
        while found := self.codec.read(self._buffer):
            packet, nbytes = found
            self._buffer = self._buffer[nbytes:]
            self.packets.append(packet)
            self._answer(packet)

    def data_to_send(self) -> bytes:
        data, self._out = self._out, b""
        return data

    def link_lost(self) -> None:
        self._buffer = self._out = b""

    def send(self, *packets: Packet) -> None:
        self._out += b"".join(map(self.codec.write, packets))

    def publish(self, topic: str, payload: bytes, qos: int) -> None:
        self._identifier += 1
        packet = Publish(topic, payload, qos, packet_id=self._identifier)
        self._owed[self._identifier] = packet
        self.send(packet)

    @property
    def owed(self) -> int:
        """How many messages the client has not taken."""
        return len(self._owed)

    def _answer(self, packet: Packet) -> None:
        match packet:
            case Connect():
                self._accept(packet)
            case Publish():
                self._take(packet)
            case PubRel(identifier):
                self._held.discard(identifier)
                self.send(PubComp(identifier))
            case PubAck(identifier) | PubComp(identifier):
                self._owed.pop(identifier, None)
            case PubRec(identifier):
                self._owed[identifier] = PubRel(identifier)
                self.send(PubRel(identifier))
            case Subscribe(identifier, subscriptions):
                self.send(SubAck(identifier, tuple(one.qos for one in subscriptions)))
            case Unsubscribe(identifier, filters):
                self.send(UnsubAck(identifier, (0,) * len(filters) if self.codec is codec5 else ()))
            case PingReq():
                self.send(PingResp())
            case _:
                assert isinstance(packet, Disconnect)

    def _accept(self, packet: Connect) -> None:
        self.connect = packet
        if packet.clean_start:
            self._kept = False
            self._held.clear()
            self._owed.clear()
        self.send(self.connack._replace(session_present=self._kept))
        self._kept = True
        again = (
            packet._replace(duplicate=True) if isinstance(packet, Publish) else packet
            for packet in self._owed.values()
        )
        self.send(*again)

    def _take(self, packet: Publish) -> None:
        if packet.packet_id is None:
            self.taken.append(packet)
        elif packet.qos == 1:
            self.taken.append(packet)
            self.send(PubAck(packet.packet_id))
        else:
            if packet.packet_id not in self._held:
                self.taken.append(packet)
            self._held.add(packet.packet_id)
            self.send(PubRec(packet.packet_id))


class Pair:
    """A session and a server with nothing between them but bytes, which can be cut anywhere."""

    def __init__(self, options: SessionOptions, connack: ConnAck | None = None) -> None:
        self.session = Session(options, "core2-1")
        self.server = Server(options.version, connack)
        self.events: list[Event] = []
        self._left = 1_000_000

    def state(self) -> SessionState:
        return self.session.state

    def connect(self) -> list[Event]:
        self.session.connect()
        return self.pump()

    def pump(self, budget: int = 1_000_000) -> list[Event]:
        """Carry bytes to and fro until there are none; the link dies when ``budget`` bytes have passed."""
        events: list[Event] = []
        self._left = min(self._left, budget)
        while True:
            there = self._carried(self.session.data_to_send())
            back = self._carried(self.server.data_to_send())
            if not there and not back:
                break
            self.server.receive(there)
            events += self.session.receive_data(back)
        self.events += events
        return events

    def _carried(self, data: bytes) -> bytes:
        data = data[: self._left]
        self._left -= len(data)
        return data

    def cut(self) -> list[Event]:
        """Lose the link, and whatever was under way."""
        self._left = 1_000_000
        self.server.link_lost()
        events = self.session.connection_lost()
        self.events += events
        return events


def kept(version: MqttVersion) -> SessionOptions:
    """Options of a session that outlives its links."""
    return SessionOptions(version=version, clean_start=False, session_expiry=300 if version is V5 else 0)


def pair(version: MqttVersion, connack: ConnAck | None = None) -> Pair:
    made = Pair(kept(version), connack)
    made.connect()
    return made


def give(made: Pair, *packets: Packet) -> list[Event]:
    """Let the session read packets, and return its events without answering them."""
    return made.session.receive_data(b"".join(map(made.server.codec.write, packets)))


def said(made: Pair) -> list[Packet]:
    """Return what the session has to say, as packets."""
    data, packets = made.session.data_to_send(), []
    while data:
        found = made.server.codec.read(data)
        assert found is not None
        packets.append(found[0])
        data = data[found[1] :]
    return packets


def violation(events: list[Event]) -> ProtocolError:
    assert isinstance(events[-1], Violated)
    return events[-1].error
