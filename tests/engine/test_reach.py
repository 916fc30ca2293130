"""A scheduler that is not there, or not ours."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from simulator.engine import reach
from simulator.engine.security import security_of
from simulator.errors import WorkerError
from simulator.identity.cluster_folder import Role, export_cluster

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    export_cluster(tmp_path / "cluster")
    return tmp_path / "cluster"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "PATIENCE", 0.4)


@asynccontextmanager
async def listening(context: ssl.SSLContext | None, answer: bytes | None) -> AsyncIterator[str]:
    """Listen, and give whoever comes an answer and the end of it; None waits for the other's end."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if answer is None:
            await reader.read()
        else:
            writer.write(answer)
            await reader.read(1)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield f"tls://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def scheduler(folder: Path) -> ssl.SSLContext:
    """Return the context of a scheduler with these certificates."""
    arguments = security_of(folder / "scheduler", Role.SCHEDULER).get_listen_args("scheduler")
    context: ssl.SSLContext = arguments["ssl_context"]
    return context


async def unreached(address: str, folder: Path) -> str:
    with pytest.raises(WorkerError) as caught:
        await reach.reach(address, security_of(folder / "worker", Role.WORKER), Role.WORKER)
    return str(caught.value)


async def test_nobody_is_there(folder: Path) -> None:
    async with listening(None, b"") as address:
        pass
    said = await unreached(address, folder)
    assert said == f"the scheduler at {address} cannot be reached within 0.4 s: Connection refused"


async def test_the_name_leads_nowhere(folder: Path) -> None:
    said = await unreached("tls://scheduler.invalid:8786", folder)
    assert said.startswith("the scheduler at tls://scheduler.invalid:8786 cannot be reached within 0.4 s: ")


async def test_what_is_there_speaks_no_tls(folder: Path) -> None:
    async with listening(None, b"220 mail.example ready\r\n") as address:
        assert "speaks no TLS" in await unreached(address, folder)


async def test_what_is_there_is_of_another_cluster(folder: Path, tmp_path: Path) -> None:
    export_cluster(tmp_path / "other")
    async with listening(scheduler(tmp_path / "other"), b"") as address:
        assert "is a stranger: its certificate is not of the authority" in await unreached(address, folder)


async def test_what_is_there_ends_the_conversation(folder: Path) -> None:
    async with listening(scheduler(folder), b"") as address:
        assert "has closed the connection" in await unreached(address, folder)


async def test_what_is_there_never_says_a_word(folder: Path) -> None:
    async with listening(scheduler(folder), None) as address:
        assert "cannot be reached within 0.4 s: " in await unreached(address, folder)
