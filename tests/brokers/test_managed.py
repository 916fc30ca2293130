"""The life of a broker that is a child process of ours."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
import uvloop

from simulator.brokers.mosquitto import MosquittoBroker
from simulator.errors import BrokerError
from simulator.identity.store import FleetStore
from simulator.scenario.kinds import Endpoint
from tests.brokers.wire import Papers, Wires, connect
from tests.support.offspring import children

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from simulator.brokers.managed import ManagedBroker
    from simulator.identity.authority import Authority


@pytest.fixture
async def broker(make: Callable[..., ManagedBroker], authority: Authority) -> AsyncIterator[ManagedBroker]:
    broker = make([authority.root])
    yield broker
    await broker.stop()


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have temporary files made where nobody else makes any."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def files(folder: Path) -> dict[str, int]:
    """Return the names and permissions of all that there is in a folder."""
    return {str(path.relative_to(folder)): path.stat().st_mode & 0o777 for path in folder.rglob("*")}


async def gone(processes: list[psutil.Process]) -> bool:
    """Return True when all have ended; they are not ours to wait for, so the operating system is asked."""
    _, alive = await asyncio.to_thread(psutil.wait_procs, processes, 10)
    return not alive


async def test_says_what_it_is_and_starts_once_on_a_port_below_those_of_outgoing_connections(
    broker: ManagedBroker,
) -> None:
    assert broker.description.endswith(", not started, client certificates required")
    await broker.start()
    with pytest.raises(BrokerError, match="runs already; stop it first"):
        await broker.start()
    program, address, rest = broker.description.split(", ")
    assert program.split()[0] in {"amqtt", "mosquitto"}
    assert address == str(broker.endpoints[0])
    assert rest == "client certificates required"
    assert 20_000 <= broker.endpoints[0].port < 32_768


async def test_comes_back_at_the_same_address_with_the_same_certificate(
    broker: ManagedBroker, papers: Papers
) -> None:
    assert broker.endpoints == ()
    await broker.start()
    endpoints, context = broker.endpoints, papers.context(broker)
    wires = Wires(broker, context)
    device = await wires.join(connect("device-00001"))
    await broker.stop()
    assert await device.gone()
    with pytest.raises(ConnectionRefusedError):
        await wires.open()
    await broker.start()
    assert broker.endpoints == endpoints
    await wires.join(connect("device-00001"))
    wires.cut()


async def test_leaves_nothing_behind(broker: ManagedBroker, temporary: Path) -> None:
    await broker.start()
    processes = children()
    assert processes
    await broker.stop()
    await broker.stop()
    assert await gone(processes)
    assert not files(temporary)


async def test_says_that_the_port_it_was_given_is_in_use(
    make: Callable[..., ManagedBroker], authority: Authority
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        broker = make([authority.root], port=port)
        with pytest.raises(BrokerError, match=f"port {port} of 127.0.0.1 is in use; choose another"):
            await broker.start()
    await broker.start()
    assert broker.endpoints == (Endpoint("127.0.0.1", port),)
    await broker.stop()


async def test_says_that_its_port_was_taken_while_it_was_away(broker: ManagedBroker) -> None:
    await broker.start()
    await broker.stop()
    with (
        socket.create_server(broker.endpoints[0]),
        pytest.raises(BrokerError, match=r"was taken by another program while the .* was away"),
    ):
        await broker.start()


async def test_says_that_the_address_is_not_here(
    make: Callable[..., ManagedBroker], authority: Authority
) -> None:
    with pytest.raises(BrokerError, match=r"192\.0\.2\.1 is not an address of this machine"):
        await make([authority.root], host="192.0.2.1").start()


async def test_given_port_at_an_address_that_is_not_here(
    make: Callable[..., ManagedBroker], authority: Authority
) -> None:
    with pytest.raises(BrokerError, match=r"could not be started: it ended with status \d.*assign requested"):
        await make([authority.root], host="192.0.2.1", port=8883).start()


async def test_listens_on_ipv6(
    make: Callable[..., ManagedBroker], authority: Authority, papers: Papers
) -> None:
    broker = make([authority.root], host="::1")
    try:
        await broker.start()
        wires = Wires(broker, papers.context(broker))
        await wires.join(connect("device-00001"))
        wires.cut()
    finally:
        await broker.stop()


async def test_all_addresses_are_reached_by_the_loopback_address(
    make: Callable[..., ManagedBroker], authority: Authority, papers: Papers
) -> None:
    broker = make([authority.root], host="0.0.0.0")
    try:
        await broker.start()
        assert broker.endpoints[0].host == "127.0.0.1"
    finally:
        await broker.stop()


async def test_death_is_told_but_not_a_planned_stop(broker: ManagedBroker) -> None:
    failure = asyncio.create_task(broker.wait_failed())
    await broker.start()
    await broker.stop()
    await broker.start()
    assert not failure.done()
    victim = psutil.Process()
    while victim.children():
        victim = victim.children()[0]
    victim.kill()
    with pytest.raises(BrokerError, match=r"at 127\.0\.0\.1:\d+ ended by itself, last words: .*running"):
        await failure
    await broker.stop()
    await broker.start()


async def test_usage_is_that_of_the_broker_itself(broker: ManagedBroker, papers: Papers) -> None:
    assert broker.usage() is None
    await broker.start()
    before = broker.usage()
    assert before is not None
    assert before.rss_bytes > 1_000_000
    wires = Wires(broker, papers.context(broker))
    for _ in range(20):
        await wires.join(connect("device-00001"))
    after = broker.usage()
    assert after is not None
    assert after.cpu_seconds > before.cpu_seconds
    wires.cut()
    await broker.stop()
    assert broker.usage() is None


async def test_usage_of_a_broker_that_has_died_is_unknown(broker: ManagedBroker) -> None:
    await broker.start()
    for process in children():
        process.kill()
    with pytest.raises(BrokerError):
        await broker.wait_failed()
    assert broker.usage() is None


def test_runs_on_uvloop(make: Callable[..., ManagedBroker], authority: Authority, papers: Papers) -> None:
    async def life() -> None:
        broker = make([authority.root])
        await broker.start()
        wires = Wires(broker, papers.context(broker))
        await wires.join(connect("device-00001"))
        wires.cut()
        await broker.stop()
        await broker.start()
        await broker.stop()

    uvloop.run(life())
    assert not children()


def test_lists_are_taken_on_uvloop(make: Callable[..., ManagedBroker], authority: Authority) -> None:
    async def life() -> None:
        broker = make([])
        with FleetStore.in_memory(authority) as store:
            broker.admit(store.trust_anchors, store.revocation_lists())
            await broker.start()
            await broker.take_crls(store.revocation_lists())
            for process in children():
                process.kill()
            with pytest.raises(BrokerError, match="ended by itself"):
                await broker.wait_failed()
            with pytest.raises(BrokerError, match="did not take a new revocation list"):
                await broker.take_crls(store.revocation_lists())
        await broker.stop()

    uvloop.run(life())
    assert not children()


async def test_start_that_is_cancelled_leaves_nothing_behind(broker: ManagedBroker, temporary: Path) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.015):
            await broker.start()
    assert not children()
    assert not files(temporary)


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize(("steps", "times"), [(1, 1), (1, 3), (2, 1)])
def test_start_that_is_cancelled_at_any_step_leaves_nothing_behind(
    make: Callable[..., ManagedBroker],
    authority: Authority,
    loop: Callable[[], asyncio.AbstractEventLoop],
    steps: int,
    times: int,
) -> None:
    """The loop is held up meanwhile, as on a busy machine, so that the broker is further than it knows."""

    async def life() -> None:
        broker = make([authority.root])
        starting = asyncio.create_task(broker.start(), name="start")
        for _ in range(steps):
            await asyncio.sleep(0)
        processes = 2 if make is MosquittoBroker else 1  # mosquitto hangs on a leash
        while children() and len(children()) < processes:
            pass
        for _ in range(times):
            starting.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await starting

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(life())
    assert not children()
    assert not files(Path(tempfile.gettempdir()))


async def test_ends_when_its_parent_is_killed(make: Callable[..., ManagedBroker], temporary: Path) -> None:
    code = f"""
import asyncio
from {make.__module__} import {make.__name__}
from simulator.identity.authority import Authority

async def main():
    await {make.__name__}([Authority.create("Fleet").root]).start()
    print("started", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    assert parent.stdout is not None
    assert await parent.stdout.readline() == b"started\n"
    processes = psutil.Process(parent.pid).children(recursive=True)
    assert processes
    os.kill(parent.pid, signal.SIGKILL)
    await parent.wait()
    assert await gone(processes)
    assert not files(temporary)


async def test_keeps_the_private_key_off_the_command_line_and_out_of_reach(
    broker: ManagedBroker, temporary: Path
) -> None:
    await broker.start()
    for process in children():
        assert "PRIVATE KEY" not in " ".join(process.cmdline() + list(process.environ().values()))
    if files(temporary):
        folder, *inside = files(temporary).values()
        assert (folder, set(inside)) == (0o700, {0o600})
