"""What only the embedded broker owes."""

from __future__ import annotations

import fcntl
import ssl
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from simulator.brokers.embedded import EmbeddedBroker
from simulator.brokers.managed import _free_port
from simulator.errors import BrokerError
from tests.brokers.wire import Papers, Wires, connect, publish, subscribe, trusting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from simulator.identity.authority import Authority

REFUSED = b"refused a client: PEER_DID_NOT_RETURN_A_CERTIFICATE\n"

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def broker(authority: Authority) -> AsyncIterator[EmbeddedBroker]:
    broker = EmbeddedBroker([authority.issuing])
    await broker.start()
    yield broker
    await broker.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def wires(broker: EmbeddedBroker, papers: Papers) -> AsyncIterator[Wires]:
    wires = Wires(broker, papers.context(broker))
    yield wires
    wires.cut()


async def test_silent_client_is_cut_off_and_its_will_published(wires: Wires) -> None:
    watcher = await wires.join(connect("watcher"))
    await watcher.ask(subscribe("will/#"))
    silent = await wires.join(connect("silent", keep_alive=1, will=("will/silent", "gone")))
    assert await watcher.receive() == publish("will/silent", "gone")
    assert await silent.gone()


async def test_mqtt_5_is_answered_with_the_version_it_refuses(wires: Wires) -> None:
    version_5 = connect("device-00001").replace(b"MQTT\x04", b"MQTT\x05")
    wire = await wires.open()
    assert await wire.ask(version_5) == bytes((0x20, 2, 0, 1))
    assert await wire.gone()


async def test_clients_without_an_id_do_not_take_over_each_other(wires: Wires) -> None:
    nameless = [await wires.join(connect("")) for _ in range(3)]
    assert [await wire.ask(b"\xc0\x00") for wire in nameless] == [b"\xd0\x00"] * 3


@pytest.fixture
def unread(authority: Authority) -> Iterator[EmbeddedBroker]:
    """Run a broker whose log goes into a small pipe that nobody reads."""
    broker = EmbeddedBroker([authority.root], port=_free_port("127.0.0.1"))
    command = broker._command(broker.endpoints[0], broker._credential)
    pipe = subprocess.PIPE
    with subprocess.Popen(command.argv, stdin=pipe, stdout=pipe, stderr=pipe) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        fcntl.fcntl(child.stderr, fcntl.F_SETPIPE_SZ, 4096)
        child.stdin.write(command.stdin)
        child.stdin.flush()
        assert command.ready.encode() in child.stdout.readline()
        yield broker
        child.stdin.close()
        assert child.stderr.read().startswith(REFUSED)


async def test_log_that_nobody_reads_does_not_hold_up_the_broker(
    unread: EmbeddedBroker, papers: Papers
) -> None:
    refused = Wires(unread, trusting(unread))
    for _ in range(2 * 4096 // len(REFUSED)):
        with pytest.raises(ssl.SSLError):
            await (await refused.open()).receive()
    refused.cut()
    wires = Wires(unread, papers.context(unread))
    await wires.join(connect("device-00001"))
    wires.cut()


async def test_child_that_cannot_import_says_so(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(BrokerError, match="could not be started: it ended with status 1, without a word"):
        await EmbeddedBroker([authority.root]).start()
