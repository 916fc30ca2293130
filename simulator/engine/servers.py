"""Dask's scheduler and worker, each in a process of its own, as a cluster of load generators needs them.

Each listens on one port, that of the encrypted protocol: Dask's HTTP server, which asks nobody who they are,
is not there. A worker has one thread and one event loop, keeps what it holds in memory, and ends when it has
lost its scheduler. This module must not know what a worker is given to do.
"""

from __future__ import annotations

import asyncio
import errno
import tempfile
from contextlib import suppress
from typing import TYPE_CHECKING

import distributed
from distributed.comm.core import CommClosedError

from simulator.engine.dask_settings import settle, speak_in_lines
from simulator.engine.reach import PATIENCE, reach, root_of
from simulator.engine.security import security_of
from simulator.errors import UsageError, WorkerError
from simulator.identity.cluster_folder import Role

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from distributed.core import Server

    from simulator.scenario.kinds import Endpoint

__all__ = ["Scheduler", "Worker", "serve_scheduler", "serve_worker"]

_FAREWELL = 3.0
"""Seconds that a server gets to take leave of its peers: less than whoever ends it waits (see ``leash``)."""


class Scheduler(distributed.Scheduler):
    """Dask's scheduler without its HTTP server."""

    def start_http_server(self, *_: object, **__: object) -> None:
        """Listen on no other port."""


class Worker(distributed.Worker):
    """Dask's worker without its HTTP server."""

    def start_http_server(self, *_: object, **__: object) -> None:
        """Listen on no other port."""


async def serve_scheduler(listen: Endpoint, certificates: Path, announce: Callable[[str], None]) -> None:
    """Run a scheduler until this task is cancelled; ``announce`` is told its address once it is there.

    Raises ``UsageError`` where it cannot listen, or the folder of its certificates cannot be used.
    """
    settle()
    security = security_of(certificates, Role.SCHEDULER)
    scheduler = Scheduler(host=_host(listen), port=listen.port, protocol="tls", security=security)
    await _run(scheduler, listen, announce)


async def serve_worker(
    scheduler: str, listen: Endpoint, certificates: Path, announce: Callable[[str], None]
) -> None:
    """Run a worker until this task is cancelled; ``announce`` is told its address once it has registered.

    Port 0 of ``listen`` is a free one. Raises ``UsageError`` as ``serve_scheduler`` does, and ``WorkerError``
    where the scheduler cannot be reached, or goes away.
    """
    settle()
    security = security_of(certificates, Role.WORKER)
    await reach(scheduler, security, Role.WORKER)
    with tempfile.TemporaryDirectory(prefix="simulator-worker-") as folder:
        worker = Worker(
            scheduler,
            host=_host(listen),
            port=listen.port,
            security=security,
            nthreads=1,
            memory_limit=0,  # none, and so what it holds is a dict, which nothing moves to disk
            local_directory=folder,
            death_timeout=PATIENCE,
        )
        address = await _run(worker, listen, announce)
    raise WorkerError(f"the worker at {address} has ended, because the scheduler at {scheduler} has")


async def _run(server: Server, listen: Endpoint, announce: Callable[[str], None]) -> str:
    """Run a server until it ends by itself, and return what its address was; cancelled, end it in order."""
    try:
        await server
    except (RuntimeError, TimeoutError) as error:
        raise _not_started(listen, error.__cause__ or error) from None
    address: str = server.address
    speak_in_lines()
    announce(address)
    try:
        await server.finished()
    finally:
        with suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL):
                await server.close()
    return address


def _not_started(listen: Endpoint, cause: BaseException) -> UsageError | WorkerError:
    if isinstance(cause, OSError) and not isinstance(cause, CommClosedError | TimeoutError):
        why = "something else does" if cause.errno == errno.EADDRINUSE else root_of(cause)
        return UsageError(f"cannot listen at {listen}: {why}; choose with --listen")
    return WorkerError(f"what was to listen at {listen} could not start: {root_of(cause)}")


def _host(listen: Endpoint) -> str:
    return str(listen).rpartition(":")[0]
