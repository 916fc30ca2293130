"""A connection as amqtt sees it, over plain TCP."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from simulator.brokers.embedded import connection as module
from simulator.brokers.embedded.connection import Connection
from tests.brokers import wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Pair = tuple[Connection, wire.Wire]


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    async for connected in connect(20):
        yield connected


@pytest.fixture
async def impatient() -> AsyncIterator[Pair]:
    async for connected in connect(0.02):
        yield connected


def exhausted(connection: Connection) -> bool:
    """Return whether the stream has ended and all of it has been read."""
    return connection._ended and not connection._buffer


async def connect(connect_seconds: float) -> AsyncIterator[Pair]:
    """Yield both ends of a connection."""
    arrived: asyncio.Future[Connection] = asyncio.get_running_loop().create_future()
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(arrived.set_result, connect_seconds=connect_seconds), "127.0.0.1", 0
    )
    async with server:
        device = wire.Wire(*await asyncio.open_connection(*server.sockets[0].getsockname()))
        yield await arrived, device
        device.cut()
        (await arrived).shut()


async def test_reads_exactly_what_is_asked_for(pair: Pair) -> None:
    connection, device = pair
    device.send(b"abcdef")
    assert await connection.read(1) == b"a"
    assert await connection.read(0) == b""
    device.send(b"gh")
    assert await connection.read(7) == b"bcdefgh"


async def test_what_was_sent_can_be_read_after_the_end(pair: Pair) -> None:
    connection, device = pair
    device.send(b"last words")
    device.close()
    assert await connection.read(5) == b"last "
    assert not exhausted(connection)
    with pytest.raises(asyncio.IncompleteReadError) as end:
        await connection.read(6)
    assert end.value.partial == b"words"
    assert await connection.read() == b"words"
    assert exhausted(connection)


async def test_end_can_be_declared(pair: Pair) -> None:
    connection, _ = pair
    reading = asyncio.create_task(connection.read(1))
    await asyncio.sleep(0)
    connection.feed_eof()
    with pytest.raises(asyncio.IncompleteReadError):
        await reading


async def test_large_packet_is_read_whole_although_reading_pauses(pair: Pair) -> None:
    connection, device = pair
    payload = bytes(range(256)) * 8 * 1024
    device.send(payload)
    assert await connection.read(len(payload)) == payload


async def test_peer_that_reads_nothing_is_cut_off(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_UNREAD_BY_PEER", 100_000)
    connection, _ = pair
    piece = bytes(1_000_000)
    while not exhausted(connection):
        connection.write(piece)
        await connection.drain()
        await asyncio.sleep(0)
    connection.write(b"too late")
    assert exhausted(connection)


async def test_first_packet_is_put_back_without_keepalive(pair: Pair) -> None:
    connection, device = pair
    device.send(wire.connect("device-00001", keep_alive=10) + wire.PINGREQ)
    connect_packet = await connection.connect_packet()
    assert connect_packet is not None
    assert (connect_packet.client_id, connect_packet.keep_alive) == (b"device-00001", 10)
    without = wire.connect("device-00001", keep_alive=0)
    assert await connection.read(len(without) + 2) == without + wire.PINGREQ


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1", wire.connect("device-00001")[:9]])
async def test_peer_that_leaves_or_speaks_otherwise_has_no_first_packet(pair: Pair, sent: bytes) -> None:
    connection, device = pair
    device.send(sent)
    device.close()
    assert await connection.connect_packet() is None


async def test_peer_that_does_not_connect_in_time_is_cut_off(impatient: Pair) -> None:
    connection, device = impatient
    assert await connection.connect_packet() is None
    assert await device.gone()


async def test_keepalive_is_heard_by_any_packet(impatient: Pair) -> None:
    connection, device = impatient
    device.send(wire.connect("device-00001", keep_alive=0))
    assert await connection.connect_packet()
    connection._expect(0.1)
    for _ in range(8):
        device.send(wire.PINGREQ)
        await asyncio.sleep(0.03)
    assert not exhausted(connection)
    assert await device.gone()


async def test_knows_its_peer(pair: Pair) -> None:
    connection, _ = pair
    peer = connection.get_peer_info()
    assert peer is not None
    assert peer[0] == "127.0.0.1"
    assert connection.get_ssl_info() is None


async def test_close_sends_what_was_written(pair: Pair) -> None:
    connection, device = pair
    connection.write(wire.CONNACK_ACCEPTED)
    await connection.close()
    assert await device.receive() == wire.CONNACK_ACCEPTED
    assert await device.gone()
