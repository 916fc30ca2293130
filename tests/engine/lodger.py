"""An actor for tests: it lives in a worker, as an outpost does, and says where it is."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import Any

import dask
import distributed

__all__ = ["Lodger", "Surroundings"]


@dataclass(frozen=True)
class Surroundings:
    """What a worker is like from inside."""

    process: int
    loop: str
    holds: type
    memory_limit: int | None
    threads: int
    folder: str
    callbacks: frozenset[str]
    configuration: dict[str, Any]


class Lodger:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self._kept = b""

    async def keep(self, secret: bytes) -> int:
        self._kept = secret
        return len(self._kept)

    async def look_around(self) -> Surroundings:
        worker = distributed.get_worker()
        return Surroundings(
            process=os.getpid(),
            loop=type(asyncio.get_running_loop()).__module__,
            holds=type(worker.data),
            memory_limit=worker.memory_manager.memory_limit,
            threads=worker.state.nthreads,
            folder=worker.local_directory,
            callbacks=frozenset(worker.periodic_callbacks),
            configuration=dask.config.get("distributed.comm"),
        )
