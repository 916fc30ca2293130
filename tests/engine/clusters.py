"""Clusters for tests: in this process, where a test can reach in, and of real processes elsewhere."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import dask

from simulator.engine.clusters import RunningCluster
from simulator.engine.dask_settings import settle
from simulator.engine.security import temporary_security
from simulator.engine.servers import Scheduler, Worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from distributed import Security


@asynccontextmanager
async def cluster_here(
    workers: int, settings: Mapping[str, object] | None = None, **options: Any
) -> AsyncIterator[RunningCluster]:
    """Run a scheduler and workers on the loop of the test, over TLS on loopback; ``settings`` are Dask's."""
    settle()
    dask.config.set(settings or {})
    security = temporary_security()
    async with AsyncExitStack() as stack:
        scheduler = await stack.enter_async_context(
            Scheduler(host="127.0.0.1", port=0, protocol="tls", security=security)
        )
        for _ in range(workers):
            await stack.enter_async_context(worker_of(scheduler.address, security, **options))
        yield RunningCluster(scheduler.address, security)


def worker_of(scheduler: str, security: Security, **options: Any) -> Worker:
    """Return a worker on the loop of the test, to be entered; ``options`` are Dask's."""
    options.setdefault("memory_limit", 0)
    return Worker(scheduler, host="127.0.0.1", nthreads=1, security=security, **options)
