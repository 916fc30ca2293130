"""The cloud's connection to the broker: aiomqtt, subscribed, and connected again whenever it breaks.

Whatever comes is handed on at once, in the callback that read it. This module must not know what it means.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import aiomqtt

from simulator.clock import now
from simulator.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from simulator.cloud.tls import CloudContext
    from simulator.scenario.kinds import Endpoint

__all__ = ["CloudClient"]

_log = logging.getLogger(__name__)
_log.addHandler(logging.NullHandler())
_log.propagate = False  # a broker that goes away shows in the report

_PATIENCE = 10.0
"""Seconds that the broker may take to answer."""
_PAUSE = 0.1
"""Seconds between two attempts to come back."""
_REFUSED = ("Unspecified error", 0x80)
"""MQTT-3.9.3-2: the return code of SUBACK that means failure, as paho puts it and as it is."""
_AT_ONCE = ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),)
"""Else a command waits until the broker has acknowledged the segment before it (Nagle's algorithm)."""
_IN_FLIGHT = 1_000
"""Messages of ours that may wait for their acknowledgement; aiomqtt would warn of more than ten."""


class CloudClient:
    """One client of MQTT 3.1.1. ``take`` gets each message; ``on_break`` when a connection broke, and healed.

    Between ``open`` and ``close``, ``keep`` is to be running.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        context: CloudContext,
        client_id: str,
        filters: Mapping[str, int],
        take: Callable[[aiomqtt.Message], None],
        *,
        patience: float = _PATIENCE,
    ) -> None:
        self._endpoint = endpoint
        self._context = context
        self._client_id = client_id
        self._filters = list(filters.items())
        self._inbox = inbox(take)
        self._patience = patience
        self._client: aiomqtt.Client | None = None
        self._gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.broken_at: int | None = None
        """When the connection broke that is not there now; None where it is."""

    async def open(self) -> None:
        """Connect and subscribe; raise UsageError where the broker does not let us."""
        try:
            self._client = await self._connect()
        except RefusedError as error:
            raise UsageError(
                f"the broker at {self._endpoint} does not let the run's own client subscribe to {error}"
            ) from error
        except aiomqtt.MqttError as error:
            raise UsageError(
                f"the broker at {self._endpoint} does not let the run's own client in ({error}): "
                "give it a certificate that the broker accepts, in [cloud]"
            ) from error

    async def close(self) -> None:
        """Disconnect."""
        client, self._client = self._client, None
        if client is not None:
            with suppress(aiomqtt.MqttError):
                await client.__aexit__(None, None, None)

    async def keep(self, on_break: Callable[[int, int], None]) -> None:
        """Connect again whenever the connection breaks; tell from when to when it was away. Never return."""
        while True:
            if self._client is not None:
                await self._end_of(self._client)
            try:
                self._client = await self._connect()
            except aiomqtt.MqttError:  # also a refusal: a broker may come back before its permissions do
                await asyncio.sleep(_PAUSE)
            else:
                broken, self.broken_at = self.broken_at, None
                on_break(broken or now(), now())

    async def publish(self, topic: str, payload: bytes, qos: int) -> None:
        """Return when the broker has acknowledged; raise ``aiomqtt.MqttError`` where it does not."""
        if self._client is None:
            raise aiomqtt.MqttError("not connected")
        gone = self._gone
        attempt = asyncio.create_task(self._client.publish(topic, payload, qos), name="command")
        try:
            await asyncio.wait((attempt, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            attempt.cancel()  # aiomqtt would go on waiting on a connection that is gone
        if not attempt.done():
            raise aiomqtt.MqttError("the connection ended before the acknowledgement")
        await attempt

    async def _end_of(self, client: aiomqtt.Client) -> None:
        try:
            await anext(client.messages)  # there are none: it raises when the connection ends
        except aiomqtt.MqttError as error:
            cause = error.__cause__
            if cause is not None and not isinstance(cause, aiomqtt.MqttError | OSError):
                raise cause from error  # aiomqtt takes whatever fails in a callback for a broken connection
        self.broken_at = now()
        self._gone.set_result(None)
        self._gone = asyncio.get_running_loop().create_future()
        await self.close()

    async def _connect(self) -> aiomqtt.Client:
        """Return a client that is connected and subscribed; where that is cancelled, leave nothing behind."""
        client = Watchful(
            self._endpoint.host,
            self._endpoint.port,
            identifier=self._client_id,
            clean_session=True,
            logger=_log,
            queue_type=self._inbox,
            tls_context=self._context,
            socket_options=_AT_ONCE,
            timeout=self._patience,
            max_inflight_messages=_IN_FLIGHT,
        )
        client.pending_calls_threshold = _IN_FLIGHT
        attempt = asyncio.ensure_future(client.__aenter__())
        try:
            await asyncio.shield(attempt)  # it connects in a thread, which would go on by itself
            await self._subscribe(client)
        except BaseException:
            with suppress(aiomqtt.MqttError):
                await attempt
                await client.__aexit__(None, None, None)
            raise
        return client

    async def _subscribe(self, client: aiomqtt.Client) -> None:
        codes = await client.subscribe(self._filters)
        for place, (topic, _) in enumerate(self._filters):
            if place >= len(codes) or codes[place] in _REFUSED:
                raise RefusedError(topic)


class Watchful(aiomqtt.Client):
    """A client of aiomqtt that watches its own socket only.

    aiomqtt asks the loop to watch a number. The loop may get to it when the connection has broken and the
    number is nobody's, which uvloop takes for an error for as long as it lives, or another connection's.
    """

    def _on_socket_open(self, client: Any, userdata: object, sock: Any) -> None:
        del userdata
        self._loop.call_soon_threadsafe(self._attend, client, sock)  # paho connects in a thread

    def _attend(self, client: Any, sock: Any) -> None:
        if sock.fileno() >= 0:
            self._loop.add_reader(sock.fileno(), self._try, self._read, client, sock)
            self._misc_task = self._loop.create_task(self._misc_loop(), name="keepalive of the cloud")

    def _on_socket_register_write(self, client: Any, userdata: object, sock: Any) -> None:
        del userdata
        self._loop.call_soon_threadsafe(self._speak, client, sock)

    def _speak(self, client: Any, sock: Any) -> None:
        if sock.fileno() >= 0:
            self._loop.add_writer(sock.fileno(), self._try, client.loop_write)

    def _read(self, client: Any, sock: Any) -> None:
        client.loop_read()
        while sock.pending():  # it leaves what came in the same record
            client.loop_read()

    def _try(self, step: Callable[..., object], *arguments: object) -> None:
        try:
            step(*arguments)
        except Exception as error:  # noqa: BLE001 - what ``take`` raises, too; ``keep`` tells the two apart
            if not self._disconnected.done():
                self._disconnected.set_exception(error)


class RefusedError(aiomqtt.MqttError):
    """The broker refused a subscription, or said nothing of it; the filter is the message."""


def inbox(take: Callable[[aiomqtt.Message], None]) -> type[asyncio.Queue[aiomqtt.Message]]:
    """Return a queue that never holds anything: a task that waits for each message would cost too much."""

    class Inbox(asyncio.Queue[aiomqtt.Message]):
        def put_nowait(self, item: aiomqtt.Message) -> None:
            take(item)

    return Inbox
