"""Who is connected: hands each connection to amqtt, one at a time for each client id."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING

from simulator.brokers.embedded.connection import Connection

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["Reception"]

_log = logging.getLogger(__name__)

_TAKE_OVER_SECONDS = 15.0


class Reception:
    """Receives connections and serves each with ``serve``, which returns when the connection has ended.

    A newcomer with a client id that is connected takes over: the connection that had it is closed
    (MQTT-3.1.4-2) and seen to its end, last will included, before the newcomer is served.
    """

    def __init__(self, serve: Callable[[Connection], Awaitable[None]]) -> None:
        self._serve = serve
        self._tasks: dict[Connection, asyncio.Task[None]] = {}
        self._holders: dict[bytes, Connection] = {}

    def connection(self) -> Connection:
        """Make the protocol of one accepted connection."""
        return Connection(self._arrived)

    def _arrived(self, connection: Connection) -> None:
        # Not in a TaskGroup: whatever amqtt raises about one device must not end the others.
        task = asyncio.get_running_loop().create_task(self._receive(connection), name="connection")
        self._tasks[connection] = task
        task.add_done_callback(partial(self._left, connection))

    def _left(self, connection: Connection, task: asyncio.Task[None]) -> None:
        del self._tasks[connection]
        connection.shut()
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a connection ended with %r", error)

    async def _receive(self, connection: Connection) -> None:
        connect = await connection.connect_packet()
        if connect is None:
            return
        client_id = connect.client_id or str(id(connection)).encode()
        holder = self._holders.get(client_id)
        self._holders[client_id] = connection
        try:
            if holder is not None:
                holder.shut()
                await self._end(self._tasks[holder])
            await self._serve(connection)
        finally:
            if self._holders[client_id] is connection:
                del self._holders[client_id]

    async def _end(self, task: asyncio.Task[None]) -> None:
        """Return when ``task`` has ended: by itself, for its connection is closed, or else cancelled."""
        _, late = await asyncio.wait([task], timeout=_TAKE_OVER_SECONDS)
        if late:
            task.cancel()
            await asyncio.wait([task])
