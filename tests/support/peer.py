"""A small broker with real TLS on 127.0.0.1 that a test can make dumb, rude or slow.

Each client gets a sans-I/O server of its own, by its client identifier, that outlives its connections.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self, TypeVar, cast

from simulator.link.address import Address, resolve
from simulator.mqtt.packets import Connect, Packet
from simulator.scenario.kinds import Endpoint, MqttVersion
from tests.mqtt.server import Server
from tests.support.listener import RESET_ON_CLOSE

if TYPE_CHECKING:
    import ssl
    from types import TracebackType

    from simulator.mqtt.packets import ConnAck
    from tests.support.changes import Changes

SomePacket = TypeVar("SomePacket", bound=Packet)


class ScriptedServer(Server):
    """Does as the standard asks, but for the packets in ``mute``, which it takes and does not answer."""

    def __init__(self, peer: Peer) -> None:
        super().__init__(peer.version, peer.connack)
        self._peer = peer

    def took(self, packet: Packet) -> bool:
        """Tell whether this very packet came from this client."""
        return any(packet is each for each in self.packets)

    def _answer(self, packet: Packet) -> None:
        self._peer.packets.append(packet)
        if type(packet) not in self._peer.mute:
            super()._answer(packet)


class Connection(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._buffer = b""
        self.server: ScriptedServer | None = None
        self.transport: asyncio.Transport
        self.open = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._peer.connections.append(self)

    def data_received(self, data: bytes) -> None:
        if self.server is None:
            self._buffer += data
            data = self._begin()
        if self.server is not None:
            self.server.receive(data)
            self.flush()
        self._peer.changes.poke()

    def _begin(self) -> bytes:
        found = self._peer.codec.read(self._buffer)
        if found is not None:
            connect = found[0]
            assert isinstance(connect, Connect)
            self.server = self._peer.server_of(connect.client_id)
        return self._buffer

    def flush(self) -> None:
        if self.server is not None:
            self.transport.write(self.server.data_to_send())

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        if self.server is not None:
            self.server.link_lost()
        self._peer.changes.poke()

    def send(self, *packets: Packet) -> None:
        assert self.server is not None
        self.server.send(*packets)
        self.flush()

    def write(self, data: bytes) -> None:
        self.transport.write(data)

    def close(self) -> None:
        self.transport.close()

    def reset(self) -> None:
        sock = self.transport.get_extra_info("socket")
        sock.setsockopt(1, 13, RESET_ON_CLOSE)  # SOL_SOCKET, SO_LINGER
        self.transport.abort()


class Peer:
    """Listens while it is entered. ``packets`` are all that came, of all clients, in order."""

    def __init__(
        self,
        context: ssl.SSLContext,
        changes: Changes,
        *,
        version: MqttVersion = MqttVersion.V311,
        connack: ConnAck | None = None,
    ) -> None:
        self._context = context
        self._servers: dict[str, ScriptedServer] = {}
        self.changes = changes
        self.version = version
        self.connack = connack
        self.codec = Server(version).codec
        self.mute: set[type[Packet]] = set()
        self.packets: list[Packet] = []
        self.connections: list[Connection] = []

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(lambda: Connection(self), "127.0.0.1", 0, ssl=self._context)
        self.endpoint = Endpoint("127.0.0.1", self._listener.sockets[0].getsockname()[1])
        self.address: Address = await resolve(self.endpoint, loop)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        for connection in self.connections:
            connection.transport.abort()
        await self.changes.until(lambda: not any(connection.open for connection in self.connections))

    @property
    def connection(self) -> Connection:
        """The newest connection."""
        return self.connections[-1]

    def server_of(self, client_id: str) -> ScriptedServer:
        if client_id not in self._servers:
            self._servers[client_id] = ScriptedServer(self)
        return self._servers[client_id]

    def of(self, kind: type[SomePacket]) -> list[SomePacket]:
        """Return the packets of one kind that have come so far."""
        return [packet for packet in self.packets if isinstance(packet, kind)]

    async def takes(self, kind: type[SomePacket], number: int = 1) -> SomePacket:
        """Wait for the number-th packet of a kind, and return it."""
        await self.changes.until(lambda: len(self.of(kind)) >= number)
        return self.of(kind)[number - 1]
