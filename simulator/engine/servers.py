"""Dask's scheduler and worker, each in a process of its own, as a cluster of load generators needs them.

Each listens on one port, that of the encrypted protocol: Dask's HTTP server, which asks nobody who they are, is
not there. A worker has one thread and one event loop, keeps what it holds in memory, and ends when it has lost
its scheduler. This module must not know what a worker is given to do.
"""

from __future__ import annotations

import asyncio
import errno
import ssl
import tempfile
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, TypeAlias

import distributed
from distributed.comm import connect
from distributed.comm.core import CommClosedError, FatalCommClosedError

from simulator.errors import UsageError, WorkerError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from simulator.scenario.kinds import Endpoint

__all__ = ["Scheduler", "Worker", "reach", "serve_scheduler", "serve_worker"]

PATIENCE = 10.0
"""Seconds that a worker waits for its scheduler to be there."""

_FAREWELL = 5.0
"""Seconds that a server gets to take leave of its peers."""


class Scheduler(distributed.Scheduler):
    """Dask's scheduler without its HTTP server."""

    def start_http_server(self, *_: object, **__: object) -> None:
        """Listen on no other port."""


class Worker(distributed.Worker):
    """Dask's worker without its HTTP server."""

    def start_http_server(self, *_: object, **__: object) -> None:
        """Listen on no other port."""


_Server: TypeAlias = Scheduler | Worker


async def serve_scheduler(
    listen: Endpoint, security: distributed.Security, announce: Callable[[str], None]
) -> None:
    """Run a scheduler until this task is cancelled; ``announce`` is told its address once it is there.

    Raises ``UsageError`` where it cannot listen.
    """
    scheduler = Scheduler(host=_host(listen), port=listen.port, protocol="tls", security=security)
    async with _running(scheduler, listen):
        announce(scheduler.address)
        await scheduler.finished()


async def serve_worker(
    scheduler: str, listen: Endpoint, security: distributed.Security, announce: Callable[[str], None]
) -> None:
    """Run a worker until this task is cancelled; ``announce`` is told its address once it has registered.

    Port 0 of ``listen`` is a free one. Raises ``UsageError`` where it cannot listen, and ``WorkerError`` where
    the scheduler cannot be reached, or goes away.
    """
    await reach(scheduler, security)
    with tempfile.TemporaryDirectory(prefix="simulator-worker-") as folder:
        worker = Worker(
            scheduler,
            host=_host(listen),
            port=listen.port,
            security=security,
            nthreads=1,
            memory_limit=None,  # and so what it holds is a dict, which nothing moves to disk
            local_directory=folder,
            death_timeout=PATIENCE,
        )
        async with _running(worker, listen):
            address = worker.address
            announce(address)
            await worker.finished()
            raise WorkerError(f"the worker at {address} has ended, because the scheduler at {scheduler} has")


async def reach(scheduler: str, security: distributed.Security) -> None:
    """Return when the scheduler has answered; raise ``WorkerError`` that says why it has not."""
    try:
        async with asyncio.timeout(2 * PATIENCE):  # Dask limits the time to connect, not that to be answered
            comm = await connect(scheduler, timeout=PATIENCE, **security.get_connection_args("worker"))
            await comm.close()
    except (OSError, TimeoutError) as error:
        raise WorkerError(_unreached(scheduler, error)) from None


def _unreached(scheduler: str, error: OSError) -> str:
    cause = error.__cause__
    if isinstance(cause, ssl.SSLCertVerificationError):
        why = "its certificate is not of the authority in our folder: the two folders are not of one cluster"
        return f"the scheduler at {scheduler} is a stranger: {why}"
    if isinstance(error, FatalCommClosedError) and cause is not None:
        return f"what listens at {scheduler} speaks no TLS, so it is not this cluster's scheduler"
    if isinstance(error, CommClosedError):
        why = "our certificate is not of its authority, or it is ending"
        return f"the scheduler at {scheduler} has closed the connection: {why}"
    return f"the scheduler at {scheduler} cannot be reached: {_reason(cause or error)}"


@asynccontextmanager
async def _running(server: _Server, listen: Endpoint) -> AsyncIterator[None]:
    """Start a server, and end it within seconds."""
    try:
        await server
    except (RuntimeError, TimeoutError) as error:
        raise _not_started(listen, error.__cause__ or error) from None
    try:
        yield
    finally:
        with suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL):
                await server.close()


def _not_started(listen: Endpoint, cause: BaseException) -> UsageError | WorkerError:
    if isinstance(cause, OSError) and not isinstance(cause, CommClosedError | TimeoutError):
        return UsageError(f"cannot listen at {listen}: {_reason(cause)}; name another with --listen")
    return WorkerError(f"Dask could not start what was to listen at {listen}: {cause}")


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return "something else listens there already"
    return (isinstance(error, OSError) and error.strerror) or str(error)


def _host(listen: Endpoint) -> str:
    return str(listen).rpartition(":")[0]
