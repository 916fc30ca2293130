"""The embedded broker's own process: amqtt behind a TLS listener that demands a client certificate.

amqtt is given the connections through its public seam for listeners of others (``ListenerType.EXTERNAL``), so
that TLS, the backlog and the buffers are ours: its own listener does not require a client certificate.

What is mended here, because a fleet that reconnects would fall over it in amqtt 0.12:

- a takeover of a clean session left the old connection open, and that of a persistent session marked the new
  connection as disconnected (``Reception`` ends the old one first);
- a client that went silent was never disconnected, and each packet cost a task for the keepalive's sake
  (``Connection`` keeps the keepalive, amqtt is told that there is none);
- sessions without a user name lost their subscriptions after a second (``CertificateAuth``);
- every newcomer was sent the retained messages of everybody's subscriptions, the whole table of subscriptions
  was put into words at each SUBSCRIBE, and a topic that begins with ``$`` closed the connection
  (``FleetBroker``);
- a client whose certificate was refused was not told why (``tls``: the event loop's fault, not amqtt's).

What is not, and is a limit of this broker: MQTT 3.1.1 only; a message is delivered with the QoS of the
subscription even where it was published with a lower one, and with one that a second SUBSCRIBE to the same
filter asks for only after UNSUBSCRIBE; a malformed packet is skipped, not answered by closing the connection;
messages for a disconnected persistent session are kept without bound; each message is compared with each
subscription, so that some thousand subscriptions make it slow; a PUBACK that takes more than five seconds is
given up.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import json
import logging
import os
import sys
from typing import TYPE_CHECKING, Any

import uvloop
from amqtt.broker import Broker
from amqtt.contexts import BrokerConfig, ListenerConfig, ListenerType
from amqtt.plugins.base import BaseAuthPlugin

from simulator.brokers.embedded.reception import Reception
from simulator.brokers.embedded.tls import tls_context
from simulator.brokers.leash import raise_open_files_limit

if TYPE_CHECKING:
    from amqtt.mqtt.protocol.broker_handler import BrokerProtocolHandler
    from amqtt.session import Session

    from simulator.brokers.embedded.connection import Connection

__all__ = ["CertificateAuth", "FleetBroker", "main"]

_log = logging.getLogger(__name__)

_LISTENER = "default"
_BACKLOG = 4096
_HANDSHAKE_SECONDS = 60.0
_SHUTDOWN_SECONDS = 2.0
_GC_THRESHOLD = 20_000


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
        if not self.retained_messages:
            return
        subscribers = self.subscriptions.get(subscription[0], ())
        if any(subscriber is session for subscriber, _ in subscribers):
            await super()._publish_retained_messages_for_subscription(subscription, session)

    async def _handle_message_delivery(
        self, client_session: Session, handler: BrokerProtocolHandler, wait_deliver: asyncio.Future[Any]
    ) -> bool:
        """Let devices publish to ``$aws/…``, as brokers in the field allow (MQTT 3.1.1, 4.7.2)."""
        message = wait_deliver.result()
        if message is None or not message.topic.startswith("$"):
            return await super()._handle_message_delivery(client_session, handler, wait_deliver)
        await self._broadcast_message(client_session, message.topic, message.data)
        if message.retain:
            await self.retain_message(client_session, message.topic, message.data, message.qos)
        return True


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
        ssl=tls_context(configuration["trust"], configuration["chain"], configuration["key"]),
        backlog=_BACKLOG,
        ssl_handshake_timeout=_HANDSHAKE_SECONDS,
        ssl_shutdown_timeout=_SHUTDOWN_SECONDS,
    )
    gc.collect()
    gc.freeze()  # what is loaded now stays: no need to walk it again
    gc.set_threshold(_GC_THRESHOLD)
    os.write(1, f"{configuration['ready']} {configuration['port']}\n".encode())
    await _input_ends()
    logging.disable()  # amqtt reports that its tasks are cancelled, which is how they end here


def _report(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Say in one line what went wrong in a task or callback that nobody awaits."""
    _log.error("%s: %r", context["message"], context.get("exception"))


def main() -> int:
    """Read the configuration from standard input, and serve."""
    os.set_blocking(2, False)  # a parent that does not read must not hold up the broker:
    logging.raiseExceptions = False  # what does not fit into the pipe is dropped
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("amqtt").setLevel(logging.ERROR)
    raise_open_files_limit()
    configuration = json.loads(sys.stdin.readline())
    try:
        uvloop.run(_serve(configuration))
    except OSError as error:
        what = "address already in use" if error.errno == errno.EADDRINUSE else error.strerror
        sys.stderr.write(f"{configuration['host']}:{configuration['port']}: {what}\n")
        return 1
    return 0
