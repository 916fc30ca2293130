"""``simulator cluster``, run as a user runs it: processes that speak TLS on the loopback address."""

from __future__ import annotations

import re
import secrets
import signal
import socket
import ssl
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import distributed
import psutil
import pytest

from simulator.cli.verbs import command_line
from simulator.engine.dask_settings import settle
from simulator.engine.security import security_of
from simulator.errors import UsageError
from simulator.identity.cluster_folder import Role, export_cluster
from tests.engine.lodger import Lodger
from tests.support.command import Running, gone, simulator

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent.parent
HOSTILE = {
    "DASK_SCHEDULER_ADDRESS": "tcp://127.0.0.1:1",
    "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "False",
    "DASK_DISTRIBUTED__COMM__TLS__CA_FILE": "/elsewhere/ca.pem",
    "DASK_DISTRIBUTED__COMM__TLS__CIPHERS": "NULL",
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "True",
    "DASK_DISTRIBUTED__WORKER__PRELOAD": "this_is_not_there",
    "DASK_DISTRIBUTED__ADMIN__EVENT_LOOP": "asyncio",
}
"""An environment that would have Dask do what it must not."""


@dataclass(frozen=True)
class Cluster:
    """A scheduler and two workers; ``temporary`` is where all of them may leave files."""

    address: str
    folder: Path
    temporary: Path
    scheduler: Running
    workers: Running

    @property
    def servers(self) -> list[psutil.Process]:
        """The processes that listen: the scheduler and the workers, and not who holds these on a leash."""
        return [psutil.Process(self.scheduler.process.pid), *(worker for (worker,) in held(self.workers))]


def held(workers: Running) -> list[list[psutil.Process]]:
    """Return what each leash of several workers holds."""
    return [leash.children() for leash in psutil.Process(workers.process.pid).children()]


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of two clusters' certificates: ``ours`` and ``theirs``."""
    folder = tmp_path_factory.mktemp("cluster")
    for name in ("ours", "theirs"):
        export_cluster(folder / name)
    (folder / "temporary").mkdir()
    return folder


def scheduler(folder: Path, port: int) -> Running:
    command = ("cluster", "scheduler", "--certificates", "ours/scheduler", "--listen", f"127.0.0.1:{port}")
    return Running(command, folder, variables=variables(folder))


def workers(folder: Path, address: str, *options: str) -> Running:
    command = ("cluster", "worker", address, "--certificates", "ours/worker", *options)
    return Running(command, folder, variables=variables(folder))


def variables(folder: Path) -> dict[str, str]:
    return {**HOSTILE, "TMPDIR": str(folder / "temporary"), "PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="module")
def cluster(folder: Path) -> Iterator[Cluster]:
    port = free_port()
    address = f"tls://127.0.0.1:{port}"
    with scheduler(folder, port) as first:
        first.out.wait_for(f"scheduler at {address}")
        with workers(folder, address, "--processes", "2") as second:
            wait_for_two(second)
            yield Cluster(address, folder, folder / "temporary", first, second)


def wait_for_two(workers: Running) -> None:
    for _ in range(2):
        workers.out.wait_for("worker at tls://127.0.0.1:")


@contextmanager
def pair(cluster: Cluster) -> Iterator[Running]:
    """Run two workers more."""
    with workers(cluster.folder, cluster.address, "--processes", "2") as two:
        wait_for_two(two)
        yield two


def client(cluster: Cluster) -> distributed.Client:
    settle()
    return distributed.Client(
        cluster.address,
        security=security_of(cluster.folder / "ours" / "client", Role.CLIENT),
        asynchronous=True,
        direct_to_workers=True,
    )


async def lodgers(client: distributed.Client) -> list[Lodger]:
    """Put an actor into each worker."""
    return [
        await client.submit(Lodger, actor=True, workers=[address], allow_other_workers=False, pure=False)
        for address in await client.ncores()
    ]


async def test_workers_are_what_a_load_generator_needs(cluster: Cluster) -> None:
    async with client(cluster) as ours:
        there = [await lodger.look_around() for lodger in await lodgers(ours)]
    assert {each.process for each in there} == {server.pid for server in cluster.servers[1:]}
    for each in there:
        assert each.loop.startswith("uvloop")
        assert each.holds is dict
        assert (each.memory_limit, each.threads) == (None, 1)
        assert "profile" not in each.callbacks
        assert each.configuration["require-encryption"] is True
        assert cluster.temporary in Path(each.folder).parents


async def test_what_an_actor_is_told_is_in_its_workers_memory_and_nowhere_else(cluster: Cluster) -> None:
    secret = secrets.token_bytes(32)
    async with client(cluster) as ours:
        first, _ = await lodgers(ours)
        assert await first.keep(secret) == len(secret)
        where = (await first.look_around()).process
        assert [server.pid for server in cluster.servers if holds(server.pid, secret)] == [where]
        assert [
            path for path in cluster.temporary.rglob("*") if path.is_file() and secret in path.read_bytes()
        ] == []


def holds(process: int, secret: bytes) -> bool:
    """Tell whether a process has ``secret`` anywhere in its memory."""
    with Path(f"/proc/{process}/mem").open("rb", 0) as memory:
        for line in Path(f"/proc/{process}/maps").read_text().splitlines():
            span, rights, *_ = line.split()
            begin, end = (int(address, 16) for address in span.split("-"))
            with suppress(OSError, ValueError):
                if "w" in rights and memory.seek(begin) and secret in memory.read(end - begin):
                    return True
    return False


def test_each_listens_on_one_port_of_the_loopback_address(cluster: Cluster) -> None:
    for server in cluster.servers:
        listening = [each for each in server.net_connections("inet") if each.status == psutil.CONN_LISTEN]
        assert [each.laddr.ip for each in listening] == ["127.0.0.1"]


def ports(cluster: Cluster) -> list[int]:
    connections = (each for server in cluster.servers for each in server.net_connections("inet"))
    return [each.laddr.port for each in connections if each.status == psutil.CONN_LISTEN]


def first_word(port: int, context: ssl.SSLContext | None) -> bytes:
    """Connect, and return the first byte that a server says by itself; raise SSLError where it refuses."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
        if context is None:
            sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
            return sock.recv(1)
        with context.wrap_socket(sock) as secure:
            return secure.recv(1)


def showing(folder: Path | None) -> ssl.SSLContext:
    """Return a client's context that takes any server, and shows the certificate in ``folder``, if any."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if folder is not None:
        context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    return context


def test_who_does_not_belong_to_the_cluster_is_refused(cluster: Cluster) -> None:
    certificate_required, unknown_ca = "CERTIFICATE_REQUIRED", "UNKNOWN_CA"
    for port in ports(cluster):
        assert first_word(port, showing(cluster.folder / "ours" / "client"))
        with pytest.raises(ssl.SSLError, match=certificate_required):
            first_word(port, showing(None))
        with pytest.raises(ssl.SSLError, match=unknown_ca):
            first_word(port, showing(cluster.folder / "theirs" / "client"))
        with suppress(ConnectionResetError):
            assert first_word(port, None) in {b"", b"\x15"}, "neither silence nor a TLS alert"


def test_a_worker_with_other_certificates_is_told_so(cluster: Cluster) -> None:
    ended = simulator(
        *("cluster", "worker", cluster.address, "--certificates", "theirs/worker", "--processes", "2"),
        folder=cluster.folder,
    )
    assert ended.code == 2
    assert ended.err.count("\n") == 1
    assert f"error: the scheduler at {cluster.address} is a stranger" in ended.err


def test_two_cannot_listen_at_one_place(cluster: Cluster) -> None:
    port = cluster.address.rpartition(":")[2]
    with scheduler(cluster.folder, int(port)) as second:
        ended = second.end()
    assert (ended.code, ended.out) == (2, "")
    assert (
        ended.err == f"error: cannot listen at 127.0.0.1:{port}: something else does; choose with --listen\n"
    )


def test_a_worker_ends_in_order_when_it_is_told_to(cluster: Cluster) -> None:
    with workers(cluster.folder, cluster.address) as one:
        one.out.wait_for("worker at")
        one.signal(signal.SIGINT)
        ended = one.end()
    assert (ended.code, ended.err) == (0, "")


def test_workers_end_with_who_started_them_even_where_that_is_killed(cluster: Cluster) -> None:
    before = set(cluster.temporary.iterdir())
    with pair(cluster) as two:
        below = two.children()
        assert len(below) == 4
        two.signal(signal.SIGKILL)
        assert gone(below)
    assert set(cluster.temporary.iterdir()) == before


def test_one_worker_of_several_that_dies_is_spoken_of_and_not_replaced(cluster: Cluster) -> None:
    with pair(cluster) as two:
        (first,), (second,) = held(two)
        first.kill()
        two.err.wait_for("a worker has ended with exit code 247; left of 2: 1")
        assert second.is_running()
        two.signal(signal.SIGINT)
        assert two.end().code == 0
        assert gone([second])


def test_what_is_left_of_a_cluster_when_its_scheduler_dies(folder: Path) -> None:
    port = free_port()
    with scheduler(folder, port) as first, workers(folder, f"tls://127.0.0.1:{port}") as second:
        address = second.out.wait_for("worker at").split()[2].removesuffix(",")
        first.signal(signal.SIGKILL)
        ended = second.end()
    assert ended.code == 2
    assert ended.err == (
        f"error: the worker at {address} has ended, because the scheduler at tls://127.0.0.1:{port} has\n"
    )


def test_the_scheduler_says_in_one_line_each_who_was_refused(folder: Path) -> None:
    port = free_port()
    with scheduler(folder, port) as alone:
        alone.out.wait_for("scheduler at")
        with pytest.raises(ssl.SSLError):
            first_word(port, showing(folder / "theirs" / "client"))
        alone.err.wait_for("TLS handshake failed")
        alone.signal(signal.SIGTERM)
        ended = alone.end()
    assert ended.code == 0
    assert [line for line in ended.err.splitlines() if not line.startswith("warning: ")] == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["scheduler", "--certificates", "ours"], "ours holds the folders of all roles: name ours/scheduler"),
        (
            ["scheduler", "--certificates", "ours/scheduler", "--listen", "x:y"],
            "--listen: expected an endpoint",
        ),
        (
            ["worker", "tcp://h:1", "--certificates", "ours/worker"],
            "a cluster speaks TLS only: tls://h:1, not tcp",
        ),
        (["worker", "tls://", "--certificates", "ours/worker"], "SCHEDULER: expected an endpoint"),
        (
            ["worker", "h", "--certificates", "ours/worker", "--processes", "0"],
            "--processes is a number from 1 to 256, or auto, not '0'",
        ),
        (["certificates", "ours"], "ours is not empty"),
    ],
)
def test_a_mistake_is_one_sentence(
    arguments: list[str], said: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(UsageError, match=re.escape(said)) as caught:
        command_line("cluster")(["cluster", *arguments], standalone_mode=False)
    assert "\n" not in str(caught.value)


def test_certificates_come_with_what_to_do_next(tmp_path: Path) -> None:
    ended = simulator("cluster", "certificates", "new", "--days", "30", folder=tmp_path)
    assert (ended.code, ended.err) == (0, "")
    for role in Role:
        assert (tmp_path / "new" / role).is_dir()
        assert f"new/{role}" in ended.out
    assert "for 30 days" in ended.out
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
