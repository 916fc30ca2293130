"""The embedded broker's own process: amqtt behind a TLS listener that demands a client certificate.

amqtt is given the connections through its public seam for listeners of others (``ListenerType.EXTERNAL``), so
that TLS, the backlog and the buffers are ours: its own listener does not require a client certificate.

What is mended here, because a fleet that reconnects would fall over it in amqtt 0.12:

- a takeover of a clean session left the old connection open, and that of a persistent session marked the new
  connection as disconnected (``Reception`` ends the old one first);
- a client that went silent was never disconnected, and each packet cost a task for the keepalive's sake
  (``Connection`` keeps the keepalive, amqtt is told that there is none);
- sessions without a user name lost their subscriptions after a second (``CertificateAuth``);
- every newcomer was sent the retained messages of everybody's subscriptions, and the table of subscriptions was
  printed to nowhere at each of them; topics that begin with ``$`` closed the connection (``FleetBroker``).

What is not, and is a limit of this broker: MQTT 3.1.1 only; a message is delivered with the QoS of the
subscription even where it was published with a lower one, and with one that a second SUBSCRIBE to the same
filter asks for only after UNSUBSCRIBE; a malformed packet is skipped, not answered by closing the connection;
messages for a disconnected persistent session are kept without bound; each message is compared with each
subscription, so that some thousand subscriptions make it slow; a PUBACK that takes more than five seconds is
given up.
"""

from __future__ import annotations

import asyncio
import base64
import errno
import gc
import json
import logging
import os
import signal
import ssl
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop
from amqtt.broker import Broker
from amqtt.contexts import BrokerConfig, ListenerConfig, ListenerType
from amqtt.plugins.base import BaseAuthPlugin

from simulator.brokers.embedded.reception import Reception
from simulator.brokers.leash import raise_open_files_limit

if TYPE_CHECKING:
    from amqtt.mqtt.protocol.broker_handler import BrokerProtocolHandler
    from amqtt.session import Session

    from simulator.brokers.embedded.connection import Connection

__all__ = ["CertificateAuth", "FleetBroker", "main"]

_LISTENER = "default"
_BACKLOG = 4096
_HANDSHAKE_SECONDS = 60.0
_SHUTDOWN_SECONDS = 2.0


class CertificateAuth(BaseAuthPlugin):
    """Accept every client: whoever speaks MQTT here has proved a certificate in the TLS handshake."""

    async def authenticate(self, *, session: Session) -> bool:  # noqa: ARG002 - the signature is amqtt's
        """Return True, and leave the session its right to outlive the connection."""
        return True


class _Subscriptions(dict[str, list[tuple["Session", int]]]):
    """amqtt's table of subscriptions, which it prints at each SUBSCRIBE for a log that is switched off."""

    def __repr__(self) -> str:
        return f"<{len(self)} subscriptions>"


class FleetBroker(Broker):
    """amqtt's broker, mended in three places (see the module)."""

    def __init__(self, config: BrokerConfig) -> None:
        super().__init__(config)
        self._subscriptions = _Subscriptions()

    async def _publish_retained_messages_for_subscription(
        self, subscription: tuple[str, int], session: Session
    ) -> None:
        """Send retained messages to subscribers only (MQTT-3.3.1-6)."""
        subscribers = self.subscriptions.get(subscription[0], ())
        if self.retained_messages and any(subscriber is session for subscriber, _ in subscribers):
            await super()._publish_retained_messages_for_subscription(subscription, session)

    async def _handle_message_delivery(
        self, client_session: Session, handler: BrokerProtocolHandler, wait_deliver: asyncio.Future[Any]
    ) -> bool:
        """Let devices publish to ``$aws/…`` as they do in the field; a server may allow it (MQTT 3.1.1, 4.7.2)."""
        message = wait_deliver.result()
        if message is None or not message.topic.startswith("$"):
            return await super()._handle_message_delivery(client_session, handler, wait_deliver)
        await self._broadcast_message(client_session, message.topic, message.data)
        if message.retain:
            await self.retain_message(client_session, message.topic, message.data, message.qos)
        return True


def _tls_context(configuration: dict[str, Any]) -> ssl.SSLContext:
    """Return the listener's TLS settings: 1.2 at least, and no client without a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # an intermediate may be an anchor
    for der in configuration["trust"]:
        context.load_verify_locations(cadata=base64.b64decode(der))
    with tempfile.TemporaryDirectory() as folder:  # the ssl module reads keys from files only; gone in a moment
        path = Path(folder, "server.pem")
        path.touch(mode=0o600)
        path.write_text(configuration["key"] + configuration["chain"])
        context.load_cert_chain(path)
    return context


async def _input_ends() -> None:
    """Return when nobody holds the other end of standard input any more."""
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    try:
        while await reader.read(4096):
            pass
    finally:
        transport.close()


async def _serve(configuration: dict[str, Any]) -> None:
    """Run the broker until standard input ends."""
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_report)
    broker = FleetBroker(
        BrokerConfig(
            listeners={_LISTENER: ListenerConfig(type=ListenerType.EXTERNAL)},
            plugins={f"{CertificateAuth.__module__}.{CertificateAuth.__qualname__}": {}},
        )
    )
    await broker.start()

    async def serve(connection: Connection) -> None:
        await broker.external_connected(connection, connection, _LISTENER)

    reception = Reception(serve)
    await loop.create_server(
        reception.connection,
        configuration["host"],
        configuration["port"],
        ssl=_tls_context(configuration),
        backlog=_BACKLOG,
        ssl_handshake_timeout=_HANDSHAKE_SECONDS,
        ssl_shutdown_timeout=_SHUTDOWN_SECONDS,
    )
    gc.collect()
    gc.freeze()
    os.write(1, f"{configuration['ready']} {configuration['port']}\n".encode())
    await _input_ends()


def _report(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error = context.get("exception")
    print(context, file=sys.stderr)


def main() -> int:
    """Read the configuration from standard input, and serve."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    raise_open_files_limit()
    configuration = json.loads(sys.stdin.readline())
    try:
        uvloop.run(_serve(configuration))
    except OSError as error:
        what = "address already in use" if error.errno == errno.EADDRINUSE else error.strerror
        sys.stderr.write(f"{configuration['host']}:{configuration['port']}: {what}\n")
        return 1
    return 0
