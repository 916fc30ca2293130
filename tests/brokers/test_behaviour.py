"""What every broker of ours owes a fleet, asked of each of them over the wire."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

import aiomqtt
import pytest
import pytest_asyncio

from tests.brokers.wire import (
    CLEAN,
    CONNACK_ACCEPTED,
    DISCONNECT,
    PINGREQ,
    Papers,
    Wire,
    Wires,
    connect,
    publish,
    subscribe,
)
from tests.support.tools import require

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from simulator.brokers.managed import ManagedBroker
    from simulator.identity.authority import Authority

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def broker(make: Callable[..., ManagedBroker], authority: Authority) -> AsyncIterator[ManagedBroker]:
    broker = make([authority.root])
    await broker.start()
    yield broker
    await broker.stop()


@pytest.fixture
def context(broker: ManagedBroker, papers: Papers) -> ssl.SSLContext:
    return papers.context(broker)


@pytest_asyncio.fixture(loop_scope="module")
async def wires(broker: ManagedBroker, context: ssl.SSLContext) -> AsyncIterator[Wires]:
    wires = Wires(broker, context)
    yield wires
    wires.cut()


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_delivers_at_every_qos(broker: ManagedBroker, context: ssl.SSLContext, qos: int) -> None:
    host, port = broker.endpoints[0]
    async with aiomqtt.Client(host, port, tls_context=context, timeout=10) as client:
        await client.subscribe("fleet/#", qos=qos)
        await client.publish("fleet/device-00001/telemetry", "21.5", qos=qos)
        async with asyncio.timeout(10):
            message = await anext(aiter(client.messages))
    assert str(message.topic) == "fleet/device-00001/telemetry"
    assert (message.payload, message.qos) == (b"21.5", qos)


async def test_serves_mosquitto_pub_and_sub(
    broker: ManagedBroker, papers: Papers, tmp_path_factory: pytest.TempPathFactory
) -> None:
    publisher, subscriber = require("mosquitto_pub"), require("mosquitto_sub")
    root = tmp_path_factory.mktemp("root") / "ca.pem"
    root.write_bytes("".join(map(ssl.DER_cert_to_PEM_cert, broker.trust)).encode())
    host, port = broker.endpoints[0]
    options = ["--cafile", str(root), "--cert", str(papers.certificate), "--key", str(papers.key)]
    options += ["-h", host, "-p", str(port)]
    pub = await asyncio.create_subprocess_exec(
        publisher, *options, "-t", "state", "-m", "up", "-q", "1", "-r"
    )
    assert await pub.wait() == 0
    sub = await asyncio.create_subprocess_exec(
        subscriber, *options, "-t", "state", "-C", "1", "-W", "10", stdout=asyncio.subprocess.PIPE
    )
    out, _ = await sub.communicate()
    assert out == b"up\n"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_speaks_tls_1_2_and_1_3(wires: Wires, version: ssl.TLSVersion) -> None:
    wires.context.minimum_version = wires.context.maximum_version = version
    wire = await wires.join(connect("device-00001"))
    assert await wire.ask(PINGREQ) == b"\xd0\x00"


async def test_refuses_tls_1_1(broker: ManagedBroker) -> None:
    openssl = require("openssl")
    host, port = broker.endpoints[0]
    client = await asyncio.create_subprocess_exec(
        openssl, "s_client", "-tls1_1", "-cipher", "ALL:@SECLEVEL=0", "-connect", f"{host}:{port}",
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await client.communicate()
    assert client.returncode == 1
    assert b"alert protocol version" in out


async def test_certificate_carries_the_address_and_no_other_name(
    broker: ManagedBroker, context: ssl.SSLContext
) -> None:
    host, port = broker.endpoints[0]
    for name in (None, "localhost"):
        _, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=name or host)
        writer.close()
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        await asyncio.open_connection(host, port, ssl=context, server_hostname="elsewhere.example")


@pytest.mark.parametrize("flags", [CLEAN, 0], ids=["clean session", "persistent session"])
async def test_newcomer_takes_over_the_client_id(wires: Wires, flags: int) -> None:
    first = await wires.join(connect("twin", flags=flags))
    second = await wires.join(connect("twin", flags=flags))
    assert await first.gone()
    assert (await second.ask(subscribe("news", 1)))[0] == 0x90
    sender = await wires.join(connect("sender"))
    assert (await sender.ask(publish("news", "to the newcomer", qos=1)))[0] == 0x40
    assert b"to the newcomer" in await second.receive()


async def test_takeover_publishes_the_will(wires: Wires) -> None:
    watcher = await wires.join(connect("watcher"))
    await watcher.ask(subscribe("will/#"))
    await wires.join(connect("heir", will=("will/heir", "gone")))
    await wires.join(connect("heir"))
    assert await watcher.receive() == publish("will/heir", "gone")


async def test_takeovers_in_a_row_leave_one_connection(wires: Wires) -> None:
    eight = [await wires.open() for _ in range(8)]
    for wire in eight:
        wire.send(connect("eightfold"))
    alive = [wire for wire in eight if not await served_then_gone(wire)]
    assert len(alive) == 1


async def served_then_gone(wire: Wire) -> bool:
    """Return whether the broker closed the connection, before or after it accepted the client."""
    try:
        if await wire.receive() != CONNACK_ACCEPTED:
            return True
        return await wire.ask(PINGREQ) != b"\xd0\x00"
    except (ConnectionError, asyncio.IncompleteReadError):
        return True


async def test_last_messages_arrive_before_a_disconnect_and_no_will_after_it(wires: Wires) -> None:
    watcher = await wires.join(connect("watcher"))
    await watcher.ask(subscribe("last/#"))
    leaver = await wires.join(connect("leaver", will=("last/will", "gone")))
    words = [publish("last/word", str(number)) for number in range(20)]
    leaver.send(b"".join(words) + DISCONNECT)
    assert await leaver.gone()
    assert [await watcher.receive() for _ in words] == words
    assert await watcher.ask(PINGREQ) == b"\xd0\x00"


async def test_disconnect_sent_along_with_connect_is_a_disconnect(wires: Wires) -> None:
    watcher = await wires.join(connect("watcher"))
    await watcher.ask(subscribe("brief/#"))
    for _ in range(5):
        brief = await wires.open()
        brief.send(
            connect("brief", will=("brief/will", "gone")) + publish("brief/word", "hello") + DISCONNECT
        )
        assert await watcher.receive() == publish("brief/word", "hello")
        assert await brief.receive() == CONNACK_ACCEPTED
        assert await brief.gone()
    assert await watcher.ask(PINGREQ) == b"\xd0\x00"


async def test_client_that_connects_twice_is_cut_off(wires: Wires) -> None:
    wire = await wires.join(connect("device-00001"))
    wire.send(connect("device-00001"))
    assert await wire.gone()


async def test_unfinished_exchange_does_not_lock_a_client_out(wires: Wires) -> None:
    unfinished = await wires.join(connect("unfinished", flags=0))
    assert (await unfinished.ask(publish("half", "done", qos=2)))[0] == 0x50
    unfinished.cut()
    for _ in range(3):
        hasty = await wires.open()
        hasty.send(connect("unfinished", flags=0))
        hasty.close()
    patient = await wires.open()
    assert await patient.ask(connect("unfinished", flags=0)) == bytes((0x20, 2, 1, 0))


async def test_client_that_leaves_while_it_is_welcomed_is_heard_and_can_come_back(wires: Wires) -> None:
    watcher = await wires.join(connect("watcher"))
    await watcher.ask(subscribe("hasty/#"))
    for _ in range(5):
        hasty = await wires.open()
        hasty.send(connect("hasty") + publish("hasty/word", "hello"))
        hasty.close()
        assert await watcher.receive() == publish("hasty/word", "hello")
    patient = await wires.join(connect("hasty"))
    assert await patient.ask(PINGREQ) == b"\xd0\x00"


async def test_persistent_session_keeps_subscriptions_and_messages(wires: Wires) -> None:
    sleeper = await wires.join(connect("sleeper", flags=0))
    await sleeper.ask(subscribe("orders", 1))
    sleeper.send(DISCONNECT)
    assert await sleeper.gone()
    sender = await wires.join(connect("sender"))
    assert (await sender.ask(publish("orders", "wake up", qos=1)))[0] == 0x40
    sleeper = await wires.open()
    assert await sleeper.ask(connect("sleeper", flags=0)) == bytes((0x20, 2, 1, 0))
    assert b"wake up" in await sleeper.receive()


async def test_retained_messages_reach_subscribers_only(wires: Wires) -> None:
    first = await wires.join(connect("first"))
    await first.ask(subscribe("map/#", 1))
    first.send(publish("map/1", "here", qos=1, retain=True))
    assert {(await first.receive())[0] & 0xF0 for _ in range(2)} == {0x40, 0x30}
    second = await wires.join(connect("second"))
    assert await second.ask(PINGREQ) == b"\xd0\x00"
    second.send(subscribe("map/1"))
    assert {(await second.receive())[0] for _ in range(2)} == {0x90, 0x31}


async def test_aws_topics_pass(wires: Wires) -> None:
    device = await wires.join(connect("device-00001"))
    await device.ask(subscribe("$aws/things/device-00001/shadow/#"))
    device.send(publish("$aws/things/device-00001/shadow/update", "{}"))
    assert b"$aws/things/device-00001/shadow/update" in await device.receive()
    assert await device.ask(PINGREQ) == b"\xd0\x00"


async def test_impossible_topic_ends_the_connection(wires: Wires) -> None:
    watcher = await wires.join(connect("watcher"))
    await watcher.ask(subscribe("will/#"))
    wire = await wires.join(connect("wild", will=("will/wild", "gone")))
    wire.send(publish("", "to nobody"))
    assert await watcher.receive() == publish("will/wild", "gone")
    assert await wire.gone()


async def test_bytes_that_are_not_mqtt_end_the_connection(wires: Wires) -> None:
    wire = await wires.open()
    wire.send(b"GET / HTTP/1.1\r\n\r\n")
    assert await wire.gone()
