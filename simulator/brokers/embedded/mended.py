"""amqtt's broker, mended where a fleet that reconnects would fall over it, and its limits.

What is mended in amqtt 0.12:

- a takeover of a clean session left the old connection open, and that of a persistent session marked the new
  connection as disconnected (``Reception`` ends the old one first);
- a client that went silent was never disconnected, and each packet cost a task for the keepalive's sake
  (``Connection`` keeps the keepalive, amqtt is told that there is none);
- a client that left while it was being welcomed was kept for ever, and its DISCONNECT taken for a lost
  connection; one that left a QoS 2 exchange unfinished was not served for ten seconds (``_Handler``);
- what a client had published just before it left was dropped, even if it had been acknowledged, and one that
  published to an impossible topic was neither served nor disconnected any more (``_client_message_loop``);
- sessions without a user name lost their subscriptions after a second (``CertificateAuth``);
- every newcomer was sent the retained messages of everybody's subscriptions, the whole table of subscriptions
  was put into words at each SUBSCRIBE, and a topic that begins with ``$`` closed the connection.

What is not, and is a limit of the embedded broker: MQTT 3.1.1 only; a message is delivered with the QoS of
the subscription even where it was published with a lower one; a second SUBSCRIBE to the same filter does not
change its QoS; a malformed packet is skipped, not answered by closing the connection; messages for a
disconnected persistent session are kept without bound; each message is compared with each subscription, so
that some thousand subscriptions make it slow; a PUBACK that takes more than five seconds is given up.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from amqtt.broker import Broker
from amqtt.contexts import BrokerConfig, ListenerConfig, ListenerType
from amqtt.mqtt.protocol.broker_handler import BrokerProtocolHandler
from amqtt.plugins.base import BaseAuthPlugin

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from amqtt.adapters import ReaderAdapter, WriterAdapter
    from amqtt.broker import BrokerContext
    from amqtt.mqtt.connect import ConnectPacket
    from amqtt.mqtt.disconnect import DisconnectPacket
    from amqtt.plugins.manager import PluginManager
    from amqtt.session import Session

    from simulator.brokers.embedded.connection import Connection

    _Work = Callable[[Session, BrokerProtocolHandler], Coroutine[Any, Any, None]]

__all__ = ["CertificateAuth", "FleetBroker"]

_LISTENER = "default"


class CertificateAuth(BaseAuthPlugin):
    """Accept every client: whoever speaks MQTT here has proved a certificate in the TLS handshake."""

    async def authenticate(self, *, session: Session) -> bool:  # noqa: ARG002 - the signature is amqtt's
        """Return True, and leave the session its right to outlive the connection."""
        return True


class _Subscriptions(dict[str, list[tuple["Session", int]]]):
    """amqtt's table of subscriptions, which it prints at each SUBSCRIBE for a log that is switched off."""

    def __repr__(self) -> str:
        return f"<{len(self)} subscriptions>"


class _Handler(BrokerProtocolHandler):
    """The handler of one client's packets; it remembers how the client left, whenever that was."""

    def __init__(self, plugins_manager: PluginManager[BrokerContext]) -> None:
        super().__init__(plugins_manager)
        self._gone: asyncio.Future[DisconnectPacket | None] = asyncio.get_running_loop().create_future()
        self._redelivery: asyncio.Future[None] | None = None

    async def wait_disconnect(self) -> DisconnectPacket | None:
        """Return the client's DISCONNECT, or None where its connection ended without one."""
        return await self._gone

    async def handle_disconnect(self, disconnect: DisconnectPacket | None) -> None:
        """Note that the client has left; the first word counts."""
        if not self._gone.done():
            self._gone.set_result(disconnect)

    async def handle_connect(self, connect: ConnectPacket) -> None:  # noqa: ARG002 - the signature is amqtt's
        """End the connection of a client that connects twice (MQTT-3.1.0-2)."""
        await self.handle_connection_closed()

    async def _retry_deliveries(self) -> None:
        """Begin to finish what the last connection left unfinished (MQTT-4.4.0-1), without waiting for it."""
        self._redelivery = asyncio.ensure_future(super()._retry_deliveries())

    async def stop(self) -> None:
        """End the work on the connection."""
        if self._redelivery is not None:
            self._redelivery.cancel()
        await super().stop()
        await self.handle_connection_closed()


class FleetBroker(Broker):
    """A broker for connections that others accept (``ListenerType.EXTERNAL``, amqtt's seam for them)."""

    def __init__(self) -> None:
        plugin = f"{CertificateAuth.__module__}.{CertificateAuth.__qualname__}"
        listener = ListenerConfig(type=ListenerType.EXTERNAL)
        super().__init__(BrokerConfig(listeners={_LISTENER: listener}, plugins={plugin: {}}))
        self._subscriptions = _Subscriptions()

    async def serve(self, connection: Connection) -> None:
        """Serve one client until it has left and its will, if it has one, is published."""
        await self.external_connected(connection, connection, _LISTENER)

    async def _initialize_client_session(
        self, reader: ReaderAdapter, writer: WriterAdapter, remote_address: str, remote_port: int
    ) -> tuple[BrokerProtocolHandler, Session]:
        """Read CONNECT, and put our own handler in the place of amqtt's, which has not begun yet."""
        _, session = await super()._initialize_client_session(reader, writer, remote_address, remote_port)
        return _Handler(self.plugins_manager), session

    async def _client_message_loop(self, client_session: Session, handler: BrokerProtocolHandler) -> None:
        """Serve a client whose CONNECT is answered until it leaves or cannot be served; end its session."""
        gone = asyncio.ensure_future(handler.wait_disconnect())
        works = [asyncio.ensure_future(work(client_session, handler)) for work in self._works()]
        try:
            await asyncio.wait([gone, *works], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for work in works:
                work.cancel()
            await asyncio.gather(*works, return_exceptions=True)
        await handler.handle_connection_closed()
        await gone
        await self._handle_disconnect(client_session, handler, gone)

    def _works(self) -> tuple[_Work, ...]:
        return (self._pass_on, self._subscribe, self._unsubscribe)

    async def _pass_on(self, client_session: Session, handler: BrokerProtocolHandler) -> None:
        """Pass on what the client publishes; return where it publishes to a topic that nobody may use."""
        queue = client_session.delivered_message_queue
        while await self._handle_message_delivery(client_session, handler, _done(await queue.get())):
            pass

    async def _subscribe(self, client_session: Session, handler: BrokerProtocolHandler) -> None:
        while True:
            request = await handler.get_next_pending_subscription()
            await self._handle_subscription(client_session, handler, _done(request))

    async def _unsubscribe(self, client_session: Session, handler: BrokerProtocolHandler) -> None:
        while True:
            request = await handler.get_next_pending_unsubscription()
            await self._handle_unsubscription(client_session, handler, _done(request))

    async def _handle_message_delivery(
        self, client_session: Session, handler: BrokerProtocolHandler, wait_deliver: asyncio.Future[Any]
    ) -> bool:
        """Let devices publish to ``$aws/…``, as brokers in the field allow (MQTT 3.1.1, 4.7.2)."""
        message = wait_deliver.result()
        if not message.topic.startswith("$"):
            return await super()._handle_message_delivery(client_session, handler, wait_deliver)
        await self._broadcast_message(client_session, message.topic, message.data)
        if message.retain:
            await self.retain_message(client_session, message.topic, message.data, message.qos)
        return True

    async def _publish_retained_messages_for_subscription(
        self, subscription: tuple[str, int], session: Session
    ) -> None:
        """Send retained messages to subscribers only (MQTT-3.3.1-6)."""
        if not self.retained_messages:
            return
        subscribers = self.subscriptions.get(subscription[0], ())
        if any(subscriber is session for subscriber, _ in subscribers):
            await super()._publish_retained_messages_for_subscription(subscription, session)


def _done(result: Any) -> asyncio.Future[Any]:
    """Return a future with a result, which is how amqtt hands such things on."""
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    future.set_result(result)
    return future
