"""The cloud's TLS: what its stream reads ahead, what it measures, and whom it trusts."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from simulator.clock import MILLISECOND, now
from simulator.cloud.tls import CloudContext, Stream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulator.identity.authority import Authority

RECORD = b"x" * 100


@contextmanager
def connected(client: CloudContext, server: ssl.SSLContext) -> Iterator[tuple[Stream, ssl.SSLSocket]]:
    """Yield both ends of a connection."""
    ends: list[ssl.SSLSocket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5)

        def accept() -> None:
            ends.append(server.wrap_socket(listener.accept()[0], server_side=True))

        accepting = threading.Thread(target=accept)
        accepting.start()
        ours = client.wrap_socket(socket.create_connection(listener.getsockname()))
        accepting.join()
    assert isinstance(ours, Stream)
    with ours, ends[0]:
        yield ours, ends[0]


@pytest.fixture
def client(authority: Authority, brokers: Authority) -> CloudContext:
    return CloudContext.create(authority.issue_device("ear"), [brokers.root], "127.0.0.1")


def comes(stream: Stream, number: int) -> None:
    """Wait until the kernel has so many bytes."""
    while stream.received() < number:
        threading.Event().wait(0.001)


def test_small_pieces_come_from_few_records_read_at_once(
    client: CloudContext, context: ssl.SSLContext
) -> None:
    with connected(client, context) as (ours, theirs):
        before = ours.received()
        for _ in range(20):
            theirs.sendall(RECORD)
        comes(ours, before + 20 * len(RECORD))
        ours.setblocking(False)
        assert ours.recv(1) == b"x"
        assert 0 < ours.pending() < 20 * len(RECORD), "some are left for the next turn"
        left = 20 * len(RECORD) - 1
        while left:
            left -= len(ours.recv(7))
        assert ours.pending() == 0
        assert ours.waiting() == 0
        with pytest.raises(ssl.SSLWantReadError):
            ours.recv(1)
        assert client.gauge.spent > 0


def test_the_end_comes_after_what_was_read_ahead(client: CloudContext, context: ssl.SSLContext) -> None:
    with connected(client, context) as (ours, theirs):
        theirs.sendall(RECORD)
        theirs.shutdown(socket.SHUT_RDWR)
        got = b""
        while piece := ours.recv(33):
            got += piece
        assert got == RECORD


def test_what_waits_to_be_read_shows_how_long(client: CloudContext, context: ssl.SSLContext) -> None:
    gauge = client.gauge
    with connected(client, context) as (ours, theirs):
        ours.setblocking(False)
        with pytest.raises(ssl.SSLWantReadError):  # whatever TLS itself has sent
            ours.recv(1)
        gauge.look(now())
        assert (gauge.lag.count, gauge.lag.max) == (1, 0), "nothing waits"
        before = ours.received()
        theirs.sendall(RECORD)
        comes(ours, before + len(RECORD))
        since = now() - 150 * MILLISECOND
        gauge.look(since)
        gauge.look(since + 50 * MILLISECOND)
        gauge.look(since + 100 * MILLISECOND)
        assert gauge.lag.count == 1, "it waits still"
        ours.recv(len(RECORD))
        assert gauge.lag.count == 4, "a stall counts with each look that fell into it"
        assert 150_000 <= gauge.lag.max <= (now() - since) // 1000
        assert gauge.lag.percentile(50) >= 50_000


def test_what_came_after_a_look_is_another_looks_matter(
    client: CloudContext, context: ssl.SSLContext
) -> None:
    gauge = client.gauge
    with connected(client, context) as (ours, theirs):
        ours.setblocking(False)
        with pytest.raises(ssl.SSLWantReadError):  # whatever TLS itself has sent
            ours.recv(1)
        for turn in (1, 20):  # more than is read at once
            before = ours.received()
            for _ in range(turn):
                theirs.sendall(RECORD)
            comes(ours, before + turn * len(RECORD))
            gauge.look(now())
        ours.recv(16 * len(RECORD))
        assert gauge.lag.count == 1
        ours.recv(len(RECORD))
        assert gauge.lag.count == 2


def test_the_credential_is_shown_and_leaves_no_file(client: CloudContext, context: ssl.SSLContext) -> None:
    with connected(client, context) as (_, theirs):
        shown = theirs.getpeercert()
        assert shown is not None
        assert shown["subject"] == ((("commonName", "ear"),),)


def test_a_stranger_is_not_taken_for_the_broker(authority: Authority, context: ssl.SSLContext) -> None:
    stranger = CloudContext.create(authority.issue_device("ear"), [authority.root], "127.0.0.1")
    with pytest.raises(ssl.SSLCertVerificationError), failing(context) as address:
        stranger.wrap_socket(socket.create_connection(address))


def test_the_name_of_the_broker_is_checked_unless_that_is_turned_off(
    authority: Authority, brokers: Authority, context: ssl.SSLContext
) -> None:
    papers = authority.issue_device("ear")
    elsewhere = CloudContext.create(papers, [brokers.root], "elsewhere.example")
    with pytest.raises(ssl.SSLCertVerificationError, match="elsewhere"), failing(context) as address:
        elsewhere.wrap_socket(socket.create_connection(address))
    anywhere = CloudContext.create(papers, [brokers.root], "elsewhere.example", verify_host_name=False)
    with connected(anywhere, context):
        pass


@contextmanager
def failing(context: ssl.SSLContext) -> Iterator[tuple[str, int]]:
    """Yield the address of a server whose client is going to refuse it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            sock, _ = listener.accept()
            with sock, pytest.raises((ssl.SSLError, ConnectionError)):
                context.wrap_socket(sock, server_side=True)

        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield listener.getsockname()
        finally:
            accepting.join()
