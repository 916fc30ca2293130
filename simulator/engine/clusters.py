"""Where workers come from: processes of this machine, started for one run, or a cluster that is there.

Both speak TLS only, and ask both sides for a certificate.
"""

from __future__ import annotations

import signal
from contextlib import asynccontextmanager, contextmanager
from logging import CRITICAL
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Any

import distributed
from distributed.utils import get_mp_context

from simulator.engine.dask_settings import settle
from simulator.engine.reach import PATIENCE, reach, root_of
from simulator.engine.security import temporary_security
from simulator.engine.servers import Scheduler, Worker
from simulator.errors import WorkerError
from simulator.identity.cluster_folder import Role

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

__all__ = ["LocalWorkers", "RunningCluster"]


IMPORTS = ["simulator.engine.outpost", "simulator.engine.servers"]
"""Imported once, for all workers: each is forked off a process that has them."""


class LocalWorkers:
    """So many worker processes on this machine, on its loopback address, for the time of one run."""

    is_local = True
    address = "of this machine"

    def __init__(self, number: int) -> None:
        self.wanted: int | None = number

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Any]:
        """Start scheduler and workers, and return a client; its keys are made for this run alone."""
        security = temporary_security()
        settle()
        here = {"host": "127.0.0.1", "protocol": "tls", "security": security}
        worker = {
            "cls": distributed.Nanny,
            "options": {
                **here,
                "worker_class": Worker,
                "nthreads": 1,
                "memory_limit": 0,  # none, and so nothing that it holds is ever written to disk
                "silence_logs": CRITICAL,
            },
        }
        with deaf_children():
            cluster = await distributed.SpecCluster(
                scheduler={"cls": Scheduler, "options": {**here, "port": 0}},
                workers=dict.fromkeys(range(self.wanted or 1), worker),
                security=security,
                silence_logs=CRITICAL,
                asynchronous=True,
            )
        async with cluster:
            for nanny in cluster.workers.values():
                nanny.close_gracefully()  # it does not start a worker again that was lost
            async with connected(cluster.scheduler_address, security) as client:
                yield client


class RunningCluster:
    """The workers of a scheduler that runs already; the first ``wanted`` of them, or all."""

    is_local = False

    def __init__(self, address: str, security: distributed.Security, wanted: int | None = None) -> None:
        self.address = address
        self.wanted = wanted
        self._security = security

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Any]:
        """Reach the scheduler; raise WorkerError where that is not possible."""
        settle()
        await reach(self.address, self._security, Role.CLIENT)
        async with connected(self.address, self._security) as client:
            yield client


@asynccontextmanager
async def connected(address: str, security: distributed.Security) -> AsyncIterator[Any]:
    """Return a client that speaks to workers directly; raise WorkerError where there is no scheduler."""
    client = distributed.Client(
        address,
        security=security,
        asynchronous=True,
        direct_to_workers=True,
        timeout=PATIENCE,
        name="simulator",
    )
    try:
        await client
    except OSError as error:  # TimeoutError is one
        raise WorkerError(f"the scheduler at {address} does not let us in: {root_of(error)}") from None
    try:
        yield client
    finally:
        await client.close(timeout=2)


@contextmanager
def deaf_children() -> Iterator[None]:
    """Start processes that never hear Ctrl-C: it is meant for this one, which tells them what to do.

    A child inherits which signals are blocked. One that comes meanwhile is answered when the block is left.
    Python's own child, which is started with the first of ours, would let the signal through to all of them.
    """
    resource_tracker.ensure_running()
    get_mp_context().set_forkserver_preload(IMPORTS)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
