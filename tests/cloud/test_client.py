"""The cloud's connection: it comes back, it is told who refuses it, and it hides no mistake of ours."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import aiomqtt
import pytest

from simulator.cloud.client import CloudClient
from simulator.cloud.tls import CloudContext
from simulator.errors import UsageError
from simulator.identity.authority import Authority
from simulator.mqtt.packets import Publish, SubAck, Subscribe
from tests.support.changes import Changes
from tests.support.relay import Fate, Relay

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable


@pytest.fixture
def papers(authority: Authority, brokers: Authority) -> CloudContext:
    return CloudContext.create(authority.issue_device("ear"), [brokers.root], "127.0.0.1")


@asynccontextmanager
async def kept(
    relay: Relay, papers: CloudContext, take: Callable[[aiomqtt.Message], None], breaks: list[tuple[int, int]]
) -> AsyncIterator[CloudClient]:
    """Yield a client that comes back whenever its connection breaks."""
    client = CloudClient(relay.endpoint, papers, "ear", {"t/+": 1, "a/+": 0}, take)

    def broke(since: int, until: int) -> None:
        breaks.append((since, until))
        relay.changes.poke()

    await client.open()
    keeping = asyncio.create_task(client.keep(broke))
    try:
        yield client
    finally:
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping
        await client.close()


async def test_it_hears_what_it_subscribed_to_and_comes_back(
    context: ssl.SSLContext, papers: CloudContext
) -> None:
    heard: list[str] = []
    breaks: list[tuple[int, int]] = []
    async with Relay(context, Changes()) as relay:

        def take(message: aiomqtt.Message) -> None:
            heard.append(str(message.topic))
            relay.changes.poke()

        async with kept(relay, papers, take, breaks) as client:
            relay.deliver([Publish("t/1", b"", 0), Publish("b/1", b"", 0), Publish("a/1", b"", 0)])
            await relay.changes.until(lambda: len(heard) == 2)
            relay.drop("ear")
            await relay.changes.until(lambda: breaks)
            assert client.broken_at is None
            relay.deliver([Publish("t/2", b"", 0)])
            await relay.changes.until(lambda: len(heard) == 3)
    assert heard == ["t/1", "a/1", "t/2"]
    ((since, until),) = breaks
    assert since < until


async def test_it_publishes_and_learns_of_the_acknowledgement(
    context: ssl.SSLContext, papers: CloudContext
) -> None:
    async with Relay(context, Changes()) as relay, kept(relay, papers, print, []) as client:
        await client.publish("c/1", b"hello", 1)
        assert [packet.payload for packet in relay.of(Publish)] == [b"hello"]


async def test_what_it_says_does_not_wait_for_the_packet_before(
    context: ssl.SSLContext, papers: CloudContext
) -> None:
    async with Relay(context, Changes()) as relay, kept(relay, papers, print, []):
        stream = papers.gauge._stream
        assert stream is not None
        assert stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_without_a_connection_it_cannot_publish(context: ssl.SSLContext, papers: CloudContext) -> None:
    async with Relay(context, Changes()) as relay:
        client = CloudClient(relay.endpoint, papers, "ear", {"t/+": 1}, print)
        with pytest.raises(aiomqtt.MqttError, match="not connected"):
            await client.publish("c/1", b"hello", 1)


async def test_a_publish_ends_with_its_connection(context: ssl.SSLContext, papers: CloudContext) -> None:
    def fate(_: Publish) -> Fate:
        relay.drop("ear")
        return Fate.IGNORE

    async with Relay(context, Changes(), fate) as relay, kept(relay, papers, print, []) as client:
        with pytest.raises(aiomqtt.MqttError, match="before the acknowledgement"):
            await client.publish("c/1", b"hello", 1)


async def test_a_broker_that_does_not_trust_it(context: ssl.SSLContext, brokers: Authority) -> None:
    strange = CloudContext.create(Authority.create("X").issue_device("ear"), [brokers.root], "127.0.0.1")
    async with Relay(context, Changes()) as relay:
        client = CloudClient(relay.endpoint, strange, "ear", {"t/+": 1}, print, patience=0.5)
        with pytest.raises(UsageError, match=r"does not let the run's own client in .* in \[cloud\]"):
            await client.open()


async def test_a_broker_that_refuses_its_subscription(context: ssl.SSLContext, papers: CloudContext) -> None:
    async with Relay(context, Changes()) as relay:
        relay.refuses = True
        client = CloudClient(relay.endpoint, papers, "ear", {"t/+": 1}, print)
        with pytest.raises(UsageError, match=r"does not let the run's own client subscribe to t/\+"):
            await client.open()
        await relay.changes.until(lambda: not relay.connection.open)


async def test_a_subscription_acknowledged_in_part_is_refused(
    context: ssl.SSLContext, papers: CloudContext
) -> None:
    async with Relay(context, Changes()) as relay:
        relay.mute.add(Subscribe)
        client = CloudClient(relay.endpoint, papers, "ear", {"t/+": 1, "a/+": 0}, print)
        opening = asyncio.create_task(client.open())
        await relay.takes(Subscribe)
        (asked,) = relay.of(Subscribe)
        relay.connection.send(SubAck(asked.packet_id, (1,)))
        with pytest.raises(UsageError, match=r"does not let the run's own client subscribe to a/\+"):
            await opening


async def test_a_refusal_in_mid_run_is_tried_again_until_it_is_over(
    context: ssl.SSLContext, papers: CloudContext
) -> None:
    """A broker may come back from an outage before its permissions do."""
    breaks: list[tuple[int, int]] = []
    async with Relay(context, Changes()) as relay, kept(relay, papers, print, breaks) as client:
        relay.refuses = True
        relay.drop("ear")
        await relay.changes.until(lambda: len(relay.connections) >= 4)
        assert client.broken_at is not None
        assert breaks == []
        relay.refuses = False
        await relay.changes.until(lambda: breaks)
        assert client.broken_at is None


async def test_a_mistake_of_ours_is_not_taken_for_a_broken_connection(
    context: ssl.SSLContext, papers: CloudContext
) -> None:
    def take(_: aiomqtt.Message) -> None:
        raise ZeroDivisionError("ours")

    async with Relay(context, Changes()) as relay:
        client = CloudClient(relay.endpoint, papers, "ear", {"t/+": 1}, take)
        await client.open()
        relay.deliver([Publish("t/1", b"", 0)])
        with pytest.raises(ZeroDivisionError):
            await client.keep(lambda *_: None)
        await client.close()
