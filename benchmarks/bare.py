"""The least that a publish can cost: loops that hold TLS and MQTT sessions, and do nothing else."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from typing import TYPE_CHECKING

from OpenSSL import SSL
from windows import InterruptedPacer

from simulator.clock import SECOND, now
from simulator.devices import noise
from simulator.link import openssl
from simulator.link.openssl import LoadedCredential
from simulator.link.tls import TlsClient, TlsSettings
from simulator.mqtt import codec311
from simulator.mqtt.packets import Connect, Publish
from simulator.scenario.kinds import TlsVersion

if TYPE_CHECKING:
    from collections.abc import Callable

    from rig import Members

    from simulator.brokers.broker import Broker
    from simulator.identity.credential import Credential


class BareLoop:
    """TLS connections with an open MQTT session each, and a packet that is always the same."""

    def __init__(self, members: Members, broker: Broker) -> None:
        self.loop = asyncio.get_running_loop()
        self.pacer = InterruptedPacer(self.loop)
        tls = TlsClient(TlsSettings(version=TlsVersion.V13, trust=broker.trust), broker.endpoints[0].host)
        self.connections = [self._connect(name, credential, broker, tls) for name, credential in members]
        self.size = len(self.connections)
        packet = Publish(f"fleet/{members[0][0]}/telemetry", b"." * 256, qos=1, packet_id=1)
        self.packet = codec311.write(packet)
        self.acknowledged = 0
        self._ring = deque(self.connections)
        self._on_ack: Callable[[], None] = lambda: None

    def _connect(self, name: str, credential: Credential, broker: Broker, tls: TlsClient) -> SSL.Connection:
        sock = socket.create_connection(broker.endpoints[0])
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = tls.connection(sock, LoadedCredential(credential))
        connection.do_handshake()
        connection.send(codec311.write(Connect(f"bare-{name}", keepalive=600)))
        if connection.recv(16_384)[0] != 0x20:
            raise RuntimeError("no CONNACK")
        sock.setblocking(False)
        self.loop.add_reader(sock.fileno(), self._readable, connection)
        return connection

    def report_each_second(self) -> None:
        """Let the pacer send on each connection, at moments drawn as the product draws them."""
        for place, connection in enumerate(self.connections):

            def send(due: int, connection: SSL.Connection = connection) -> int:
                self.send(connection)
                return due + SECOND

            self.pacer.at(now() + round(noise.share(1, place) * SECOND), send)

    def send(self, connection: SSL.Connection) -> None:
        """Publish once more on this connection."""
        connection.send(self.packet)

    def send_next(self) -> None:
        """Publish on the connection that has waited for longest."""
        self.send(self._ring[0])
        self._ring.rotate(-1)

    def on_ack(self, hook: Callable[[], None]) -> None:
        """Call this with each acknowledgement from now on."""
        self._on_ack = hook

    def _readable(self, connection: SSL.Connection) -> None:
        try:
            connection.recv(16_384)
        except SSL.WantReadError:
            return
        except SSL.Error:
            self.loop.remove_reader(connection.fileno())
            raise
        self.acknowledged += 1
        self._on_ack()

    def close(self) -> None:
        """End all connections."""
        self.pacer.stop()
        for connection in self.connections:
            self.loop.remove_reader(connection.fileno())
            connection.sock_shutdown(socket.SHUT_RDWR)


class RawLoop(BareLoop):
    """The bare loop on the calls below pyOpenSSL that the product uses."""

    def __init__(self, members: Members, broker: Broker) -> None:
        self.natives: dict[SSL.Connection, object] = {}
        super().__init__(members, broker)
        self.natives.update((each, openssl.native_connection(each)) for each in self.connections)

    def send(self, connection: SSL.Connection) -> None:
        """Publish once more on this connection."""
        openssl.ssl_write(self.natives[connection], self.packet, len(self.packet))

    def _readable(self, connection: SSL.Connection) -> None:
        number = openssl.ssl_read(self.natives[connection], openssl.read_buffer, openssl.RECORD)
        if number <= 0:
            if not openssl.wants(connection, number):
                self.loop.remove_reader(connection.fileno())
                raise openssl.reason(connection, number)
            return
        openssl.view(openssl.read_buffer, number)[:]
        self.acknowledged += 1
        self._on_ack()
