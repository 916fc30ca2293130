"""Somebody else's broker."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest

from simulator.brokers.external import ExternalBroker, read_trust
from simulator.errors import BrokerError, BrokerUnreachableError, UsageError
from simulator.identity import pem
from simulator.scenario.kinds import Endpoint
from tests.support.listener import Listener

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from simulator.identity.authority import Authority


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)
        yield server


@pytest.fixture
def closed() -> Endpoint:
    """Return an address that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return Endpoint(*server.getsockname())


def test_nothing_is_sent_to_an_endpoint_that_is_looked_for(listener: socket.socket) -> None:
    assert ExternalBroker([Endpoint(*listener.getsockname())]).look() == ()
    peer, _ = listener.accept()
    with peer:
        assert peer.recv(1) == b""


def test_one_open_endpoint_is_enough_and_the_dead_ones_are_named(
    listener: socket.socket, closed: Endpoint
) -> None:
    nowhere = Endpoint("does-not-exist.invalid", 8883)
    broker = ExternalBroker([closed, Endpoint(*listener.getsockname()), nowhere])
    first, second = broker.look()
    start = "an endpoint of the broker accepts no connection, so devices that dial it will fail: "
    assert first == f"{start}{closed}: Connection refused"
    assert second.startswith(f"{start}{nowhere}: ")


def test_names_each_endpoint_that_refuses_and_why(closed: Endpoint) -> None:
    broker = ExternalBroker([closed, Endpoint("does-not-exist.invalid", 8883)])
    with pytest.raises(BrokerUnreachableError) as error:
        broker.look()
    assert f"{closed}: Connection refused" in str(error.value)
    assert "does-not-exist.invalid:8883: " in str(error.value)


def test_an_endpoint_that_does_not_answer_is_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("simulator.brokers.external._CONNECT_SECONDS", 0.05)
    with Listener(backlog=0) as listener:
        listener.crowd()
        with pytest.raises(BrokerUnreachableError, match="no answer within 0 s"):
            ExternalBroker([listener.endpoint]).look()


async def test_runs_already_and_never_fails_and_uses_nothing(closed: Endpoint) -> None:
    broker = ExternalBroker([closed], trust=[b"der"], server_name="broker.example")
    await broker.start()
    await broker.stop()
    await broker.start()
    assert broker.usage() is None
    assert (broker.trust, broker.server_name, broker.endpoints) == ((b"der",), "broker.example", (closed,))
    assert broker.description == f"external, {closed}"
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await broker.wait_failed()


def test_needs_an_endpoint() -> None:
    with pytest.raises(UsageError, match="at least one endpoint"):
        ExternalBroker([])


def test_trust_is_every_certificate_of_every_file(tmp_path: Path, authority: Authority) -> None:
    both, one = tmp_path / "both.pem", tmp_path / "one.pem"
    both.write_text("# our authorities\n" + pem.certificates([authority.root, authority.issuing]))
    one.write_text(authority.root_pem)
    assert read_trust([both, one]) == (authority.root, authority.issuing, authority.root)
    assert read_trust([]) == ()


@pytest.mark.parametrize(
    "content", [b"", b"\x30\x82\x01\x0a", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_trust_file_without_a_certificate(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "trust.pem"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"the trust file .*trust\.pem holds no certificate in PEM format"):
        read_trust([path])


def test_trust_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read the trust file .*trust\.pem: No such file"):
        read_trust([tmp_path / "trust.pem"])


async def test_its_operator_tells_it_whom_to_accept(closed: Endpoint, authority: Authority) -> None:
    broker = ExternalBroker([closed])
    broker.admit([authority.root])
    sentence = (
        rf"{closed} is not ours, so its operator must give it the new revocation list: `simulator fleet crl`"
    )
    with pytest.raises(BrokerError, match=sentence):
        await broker.take_crls([])
