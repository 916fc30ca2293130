"""A device made by hand: MQTT 3.1.1 packets on an asyncio stream, nothing added and nothing hidden."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from simulator.identity import pem

if TYPE_CHECKING:
    from pathlib import Path

    from simulator.brokers.broker import Broker
    from simulator.identity.authority import Authority

CONNACK_ACCEPTED = bytes((0x20, 2, 0, 0))
CLEAN, WILL = 0x02, 0x04
PINGREQ, DISCONNECT = b"\xc0\x00", b"\xe0\x00"
_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Papers:
    """The certificate and key of one device, as files, and the broker's root."""

    certificate: Path
    key: Path

    @classmethod
    def issue(cls, authority: Authority, device: str, folder: Path) -> Self:
        credential = authority.issue_device(device)
        papers = cls(folder / f"{device}.pem", folder / f"{device}.key")
        papers.certificate.write_text(credential.chain_pem())
        papers.key.write_text(credential.key_pem())
        return papers

    def context(self, broker: Broker) -> ssl.SSLContext:
        context = trusting(broker)
        context.load_cert_chain(self.certificate, self.key)
        return context


def trusting(broker: Broker) -> ssl.SSLContext:
    """Return the settings of a client that trusts the broker, verifies its name and has no certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=pem.certificates(broker.trust))
    return context


def packet(first: int, body: bytes) -> bytes:
    length = len(body)
    encoded = bytearray()
    while True:
        length, digit = divmod(length, 128)
        encoded.append(digit | (0x80 if length else 0))
        if not length:
            return bytes([first]) + bytes(encoded) + body


def text(value: str) -> bytes:
    data = value.encode()
    return len(data).to_bytes(2) + data


def connect(
    client_id: str, *, flags: int = CLEAN, keep_alive: int = 60, will: tuple[str, str] | None = None
) -> bytes:
    body = text("MQTT") + bytes((4, flags | (WILL if will else 0))) + keep_alive.to_bytes(2) + text(client_id)
    return packet(0x10, body + b"".join(map(text, will or ())))


def subscribe(topic: str, qos: int = 0) -> bytes:
    return packet(0x82, (1).to_bytes(2) + text(topic) + bytes([qos]))


def publish(topic: str, payload: str, *, qos: int = 0, retain: bool = False, number: int = 1) -> bytes:
    identifier = number.to_bytes(2) if qos else b""
    return packet(0x30 | qos << 1 | retain, text(topic) + identifier + payload.encode())


class Wire:
    """One connection to a broker."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def ask(self, data: bytes) -> bytes:
        """Send a packet and return the next one."""
        self.send(data)
        return await self.receive()

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def receive(self) -> bytes:
        """Return the next packet, which is short enough for one byte of length."""
        async with asyncio.timeout(_SECONDS):
            header = await self._reader.readexactly(2)
            return header + await self._reader.readexactly(header[1])

    async def gone(self) -> bool:
        """Return True when the broker closes the connection without another byte."""
        async with asyncio.timeout(_SECONDS):
            try:
                return await self._reader.read(1) == b""
            except ConnectionError:
                return True

    def close(self) -> None:
        """End the connection once what was sent is on its way."""
        self._writer.close()

    def cut(self) -> None:
        """End the connection as a power cut would."""
        self._writer.transport.abort()


class Wires:
    """Connections of one client's papers to one broker; all are cut at the end."""

    def __init__(self, broker: Broker, context: ssl.SSLContext) -> None:
        self._broker = broker
        self.context = context
        self._opened: list[Wire] = []

    async def open(self) -> Wire:
        """Open a connection: TCP and TLS."""
        host, port = self._broker.endpoints[0]
        wire = Wire(*await asyncio.open_connection(host, port, ssl=self.context))
        self._opened.append(wire)
        return wire

    async def join(self, connect_packet: bytes) -> Wire:
        """Open a connection and send CONNECT; expect it to be accepted."""
        wire = await self.open()
        answer = await wire.ask(connect_packet)
        assert answer[:2] == CONNACK_ACCEPTED[:2]
        assert answer[3] == 0
        return wire

    def cut(self) -> None:
        """Cut all connections."""
        for wire in self._opened:
            wire.cut()
