"""An outpost: one shard in a worker of Dask's, seen from the worker.

It is an *actor*: the coordinator calls its methods directly, over one encrypted connection to the worker, and
they run on the worker's own event loop. So the plan, with the private keys of this shard's devices, goes
through no scheduler, is in no task's arguments, and is kept in this process's memory alone.

What it measures it keeps until the coordinator fetches it. It must not know of the other shards.
"""

from __future__ import annotations

import asyncio
import os
import platform
import socket
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakSet

import distributed

from simulator.clock import SECOND, now
from simulator.engine.collector import quiet_collector
from simulator.engine.descriptors import raise_descriptor_limit
from simulator.engine.hearsay import NoteTaker
from simulator.errors import UsageError, WorkerError
from simulator.link.key_log import KeyLog
from simulator.shard import Shard

if TYPE_CHECKING:
    from simulator.engine.hearsay import Note
    from simulator.metrics.sample import Failure
    from simulator.metrics.snapshot import Snapshot
    from simulator.shard import ShardPlan

__all__ = ["Dispatch", "Introduction", "Orders", "Outpost"]

PULSE = 1.0
"""Seconds after which there is a dispatch even where there is no news: the sign of life."""

QUICK_PULSE = 0.1
"""The same where the cloud has to learn soon what devices did, to judge what it hears of them."""

FORSAKEN = 20.0
"""Seconds without anybody fetching a dispatch after which the shard stops: its coordinator is no more."""


_everybody: WeakSet[Outpost] = WeakSet()
"""The outposts of this process that were given something to run."""


@dataclass(frozen=True, slots=True)
class Introduction:
    """Who an outpost is; ``clock`` names the monotonic clock that it goes by."""

    host: str
    process: int
    clock: str
    spills: bool
    """Whether the worker may write what it holds to disk."""


@dataclass(frozen=True, slots=True)
class Orders:
    """What an outpost has to run; ``heard`` are the fleets whose devices the cloud listens to."""

    plan: ShardPlan
    heard: frozenset[str]
    key_log: Path | None


@dataclass(frozen=True, slots=True)
class Dispatch:
    """What an outpost has measured since the last one."""

    until: int
    """Nanoseconds of the outpost's monotonic clock: what devices did before that has been told."""
    snapshots: list[Snapshot]
    failures: list[Failure]
    notes: list[Note]
    lingering: bool
    """Whether all stages are over, and the devices stay until they are released."""
    over: bool


class Outpost:
    """Runs one shard, for one coordinator."""

    def __init__(self) -> None:
        self.worker: distributed.Worker | None = None
        """Where its shard is."""
        self._shard: Shard | None = None
        self._leaving = ExitStack()
        self._snapshots: list[Snapshot] = []
        self._failures: list[Failure] = []
        self._notes: list[Note] = []
        self._news = asyncio.Event()
        self._released = asyncio.Event()
        self._lingering = False
        self._pulse = PULSE
        self._work: asyncio.Task[None] | None = None
        self._fetched = 0
        self._alarm: asyncio.TimerHandle | None = None

    async def introduce(self) -> Introduction:
        """Say who this is."""
        return Introduction(
            host=socket.gethostname(),
            process=os.getpid(),
            clock=clock_identity(),
            spills=not isinstance(distributed.get_worker().data, dict),
        )

    @property
    def is_busy(self) -> bool:
        """Whether its shard runs."""
        return self._work is not None and not self._work.done()

    async def clock(self) -> int:
        """Return the monotonic clock's nanoseconds."""
        return now()

    async def prepare(self, orders: Orders) -> None:
        """Make the devices of this shard; raise a SimulatorError where they cannot run here."""
        plan = orders.plan
        worker = distributed.get_worker()
        if any(other.worker is worker and other.is_busy for other in _everybody):
            raise WorkerError(f"the worker {worker.address} is busy with another run: wait for its end")
        self.worker = worker
        _everybody.add(self)
        raise_descriptor_limit(sum(map(len, plan.members.values())))
        if orders.key_log is not None:
            plan = replace(plan, key_log=self._leaving.enter_context(KeyLog(orders.key_log)))
        if orders.heard:
            self._pulse = QUICK_PULSE
        self._shard = Shard(
            plan,
            emit=self._emit,
            on_failure=self._failures.append,
            ears={fleet: NoteTaker(fleet, self._notes.append) for fleet in orders.heard},
            linger=self._linger if orders.heard else None,
        )
        await self._shard.prepare()
        self._leaving.enter_context(quiet_collector())  # now: it takes longer than the head start

    async def begin(self, start: int) -> None:
        """Run the shard's stages from ``start`` (ns of this machine's monotonic clock); return at once."""
        if self._shard is None:
            raise UsageError("a shard that was not prepared cannot begin")
        self._fetched = now()
        self._work = asyncio.create_task(self._run(self._shard, start), name="shard")

    async def dispatch(self) -> Dispatch:
        """Return what was measured since the last call, when there is news, or after a while without any.

        Raises what the shard raised.
        """
        self._fetched = now()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._pulse):
                await self._news.wait()
        self._news.clear()
        over = self._work is not None and self._work.done()
        if over and self._work is not None:
            await self._work
        news = Dispatch(now(), self._snapshots[:], self._failures[:], self._notes[:], self._lingering, over)
        for told in (self._snapshots, self._failures, self._notes):
            told.clear()
        return news

    async def release(self) -> None:
        """Let the devices go: nothing more is awaited of them."""
        self._released.set()

    async def stop(self) -> None:
        """End the run early, in an orderly way."""
        if self._shard is not None:
            self._shard.stop()

    async def leave(self) -> None:
        """End at once what still goes on."""
        if self._work is not None and not self._work.done():
            self._work.cancel()
            with suppress(asyncio.CancelledError):
                await self._work
        self._forget()

    async def _run(self, shard: Shard, start: int) -> None:
        self._watch(shard)
        try:
            await shard.run(start)
        finally:
            if self._alarm is not None:
                self._alarm.cancel()
            self._forget()
            self._news.set()

    def _forget(self) -> None:
        self._leaving.close()
        self._shard = None  # and with it the keys

    def _watch(self, shard: Shard) -> None:
        """Stop a shard that nobody asks for any more, rather than load a broker for nothing.

        Dask drops an actor when its client has gone; from one that hangs, nothing is heard for long.
        """
        dropped = self.worker is None or self not in self.worker.state.actors.values()
        if dropped or now() - self._fetched > FORSAKEN * SECOND:
            shard.stop()
        else:
            self._alarm = asyncio.get_running_loop().call_later(PULSE, self._watch, shard)

    async def _linger(self) -> None:
        self._lingering = True
        self._news.set()
        await self._released.wait()

    def _emit(self, snapshot: Snapshot) -> None:
        self._snapshots.append(snapshot)
        self._news.set()


def clock_identity() -> str:
    """Return a name for the monotonic clock that this process reads.

    On Linux that is one for each boot and time namespace (time_namespaces(7)); else, one for each process.
    """
    boot, namespace = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/time")
    if boot.exists() and namespace.exists():
        return f"{boot.read_text(encoding='ascii').strip()}/{namespace.readlink()}"
    return f"{platform.node()}/{os.getpid()}"
