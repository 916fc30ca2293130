"""The crew of a run on several cores or machines: an outpost in each worker of a Dask cluster.

It hands each worker its share of the plan, agrees on an instant to start at, fetches what they measure, and
goes on without those that are lost. It must not know where the workers come from, nor how they are reached.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, Self

from simulator.clock import MILLISECOND, now
from simulator.engine.hearsay import read_out
from simulator.engine.outpost import Orders, Outpost, clock_identity
from simulator.engine.together import together
from simulator.errors import SimulatorError, WorkerError
from simulator.report.run import Loss
from simulator.timetable import Part

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

    from simulator.cloud.cloud import Cloud
    from simulator.engine.outpost import Dispatch, Introduction
    from simulator.engine.scribe import Scribe
    from simulator.shard import ShardPlan

__all__ = ["Cluster", "Workers"]

HEAD_START = 300 * MILLISECOND
"""For the start to be told to every worker before the first of them begins."""

PATIENCE = 15.0
"""Seconds that a worker gets to answer: it answers within one, however busy its shard."""

LAST_WORDS = 8.0
"""Seconds that a worker gets for what is no more than good manners."""

READY = 30.0
"""Seconds that a worker gets to make its devices."""

ROUND_TRIPS = 8
"""Of which the fastest tells how far ahead a worker's clock is: to half of what it took, at worst."""

PACKAGES = {"mqtt-fleet-simulator": "simulator", "distributed": "distributed", "msgpack": "msgpack"}
"""What must be of one version everywhere, by the name of the distribution, and how people know it."""


class Cluster(Protocol):
    """Where workers come from; entered, it returns a client that is connected to its scheduler."""

    is_local: bool
    """Whether all workers are processes of this machine."""
    wanted: int | None
    """How many workers there shall be; None for all that there are."""
    address: str
    """The scheduler's, once entered."""

    def client(self) -> AbstractAsyncContextManager[Any]:
        """Return a context that starts or reaches the cluster; entering raises WorkerError or UsageError."""
        ...


@dataclass(eq=False, slots=True)
class Member:
    """One worker, the outpost in it and what is known of it."""

    part: Part
    address: str
    outpost: Any
    introduction: Introduction
    ahead: int = 0
    """Nanoseconds that its monotonic clock is ahead of ours."""
    told: int = 0
    """Time, of our clock, up to which we know what its devices did."""
    lingering: bool = False
    over: bool = False
    devices: dict[str, int] = field(default_factory=dict)
    """How many of each fleet it has."""


class Workers:
    """A crew of one shard a worker. ``say`` is told in a sentence who they are."""

    head_start = HEAD_START

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._stack = AsyncExitStack()
        self._members: list[Member] = []
        self._client: Any = None
        self._scribe: Scribe | None = None
        self._cloud: Cloud | None = None
        self._gathering: asyncio.Task[object] | None = None
        self._stopped = asyncio.Event()
        self._lingering = asyncio.Event()
        self._start = 0

    @property
    def hosts(self) -> tuple[str, ...]:
        """The machine of each shard, and the process on it."""
        introductions = (member.introduction for member in self._members)
        return tuple(f"{each.host} ({each.process})" for each in introductions)

    @property
    def processes_here(self) -> int | None:
        """How many workers share all devices, where all are processes of this machine."""
        return self._cluster.wanted if self._cluster.is_local else None

    async def __aenter__(self) -> Self:
        self._gathering = asyncio.current_task()
        async with AsyncExitStack() as stack:
            client = self._client = await stack.enter_async_context(self._cluster.client())
            stack.push_async_callback(self._dismiss)
            addresses = await self._assemble(client)
            await self._compare(client, addresses)
            parts = (Part(index, len(addresses)) for index in range(len(addresses)))
            self._members += await together(map(self._recruit, parts, addresses))
            self._stack = stack.pop_all()
        self._gathering = None
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def prepare(self, plan: ShardPlan, scribe: Scribe, cloud: Cloud | None) -> None:
        """Send each worker its share of the plan, and no more than that."""
        self._scribe, self._cloud = scribe, cloud
        if cloud is not None:
            cloud.hold_back()
        heard = frozenset(cloud.sides) if cloud is not None else frozenset()
        await together(self._brief(member, plan, heard) for member in self._members)

    async def run(self, start: int) -> None:
        """Let every worker begin at the same instant, and take what they send until all are over."""
        self._start = start
        async with asyncio.TaskGroup() as group:
            helpers = [group.create_task(self._pass_on_stop())]
            if self._cloud is not None:
                helpers.append(group.create_task(self._let_go(self._cloud)))
            await together(self._follow(member) for member in self._members)
            for helper in helpers:
                helper.cancel()

    def stop(self) -> None:
        """End the run early: before it has begun, by not beginning."""
        self._stopped.set()
        if self._gathering is not None:
            self._gathering.cancel()

    async def _dismiss(self) -> None:
        """Let the workers forget what they have, and end what they still do."""
        await self._tell_all("leave")
        self._members.clear()

    async def _assemble(self, client: Any) -> list[str]:
        """Return the addresses of the workers, when they are there."""
        wanted = self._cluster.wanted or 1
        try:
            async with asyncio.timeout(PATIENCE):
                await client.wait_for_workers(wanted)
        except TimeoutError:
            there = len(client.scheduler_info(n_workers=-1)["workers"])
            raise WorkerError(
                f"the scheduler {self._cluster.address} has {there} of {wanted} workers: start more with"
                f" `simulator cluster worker {self._cluster.address}`, or ask for fewer with --processes"
            ) from None
        addresses = sorted(client.scheduler_info(n_workers=-1)["workers"])
        return addresses[: self._cluster.wanted]

    async def _compare(self, client: Any, addresses: Sequence[str]) -> None:
        """Raise WorkerError where a worker's versions are not ours: it might not understand the plan."""
        found = await client.get_versions(packages=list(PACKAGES))
        ours = found["client"]["packages"]
        for address in addresses:
            theirs = found["workers"].get(address, {}).get("packages", {})
            for package, name in PACKAGES.items():
                if theirs.get(package) != ours[package]:
                    raise WorkerError(
                        f"the worker {address} has {name} {theirs.get(package) or 'not installed'}, and this"
                        f" machine has {ours[package]}: install the same version everywhere"
                    )
            if python_of(theirs) != python_of(ours):
                raise WorkerError(
                    f"the worker {address} has Python {python_of(theirs)}, and this machine has"
                    f" {python_of(ours)}: use the same everywhere"
                )

    async def _recruit(self, part: Part, address: str) -> Member:
        """Set up an outpost in a worker, and see that it is fit for keys."""
        client = self._client
        try:
            async with asyncio.timeout(READY):
                outpost = await client.submit(
                    Outpost, actor=True, workers=[address], allow_other_workers=False, pure=False
                )
                introduction = await outpost.introduce()
        except TimeoutError:
            raise WorkerError(
                f"the worker {address} did not get ready within {READY:.0f} seconds: restart it"
            ) from None
        except OSError as error:
            raise WorkerError(f"the worker {address} cannot be reached from here: {error}") from error
        if introduction.spills:
            raise WorkerError(
                f"the worker {address} may write what it holds to disk, private keys among it: start it with"
                " `simulator cluster worker`, or give Dask's own worker --memory-limit 0"
            )
        member = Member(part, address, outpost, introduction)
        if introduction.clock != clock_identity():
            member.ahead = await clock_ahead(outpost.clock)
        return member

    async def _brief(self, member: Member, plan: ShardPlan, heard: frozenset[str]) -> None:
        share = plan.share(member.part)
        member.devices = {name: len(devices) for name, devices in share.members.items()}
        key_log = plan.key_log.path.absolute() if plan.key_log is not None else None
        share = replace(share, key_log=None, wall_offset=plan.wall_offset - member.ahead)
        await self._ask(member, READY, "prepare", Orders(share, heard, key_log))

    async def _follow(self, member: Member) -> None:
        """Let a worker begin, and take what it sends until it is over, or lost."""
        try:
            await self._ask(member, PATIENCE, "begin", self._start + member.ahead)
            while not member.over:
                self._take(member, await self._ask(member, PATIENCE, "dispatch"))
        except WorkerError as error:
            self._lose(member, str(error))

    def _take(self, member: Member, news: Dispatch) -> None:
        if self._scribe is None:
            raise RuntimeError("a crew tells what it was prepared to tell")
        if self._cloud is not None:
            read_out(news.notes, self._cloud.sides, member.ahead)
        for failure in news.failures:
            self._scribe.fail(failure)
        for snapshot in news.snapshots:
            self._scribe.take(snapshot)
        member.told = news.until - member.ahead
        member.lingering, member.over = news.lingering, news.over
        self._advance()

    def _lose(self, member: Member, reason: str) -> None:
        """Take that a worker is lost, with its devices: an event of the run, which goes on without it."""
        member.over = True
        if self._scribe is not None:
            at = max(0, now() - self._start)
            self._scribe.lose(Loss(member.part.index, at, member.devices, reason))
        self._advance()

    def _advance(self) -> None:
        """Let the cloud judge what it heard before all that still run had told what their devices did."""
        running = [member for member in self._members if not member.over]
        if self._cloud is not None:
            self._cloud.judge(min((member.told for member in running), default=None))
        if all(member.lingering for member in running):
            self._lingering.set()

    async def _let_go(self, cloud: Cloud) -> None:
        """When all stages are over everywhere, let devices stay for the commands under way, and no longer."""
        await self._lingering.wait()
        await cloud.finish_commands()
        await self._tell_all("release")

    async def _pass_on_stop(self) -> None:
        await self._stopped.wait()
        await self._tell_all("stop")

    async def _tell_all(self, what: str) -> None:
        """Tell every worker that still runs; whether it is there is for others to notice."""

        async def tell(member: Member) -> None:
            with suppress(SimulatorError):
                await self._ask(member, LAST_WORDS, what)

        await together(tell(member) for member in self._members if not member.over)

    async def _ask(self, member: Member, patience: float, what: str, *arguments: object) -> Any:
        """Call a method of a worker's outpost; raise WorkerError where none comes in time."""
        try:
            async with asyncio.timeout(patience):
                return await getattr(member.outpost, what)(*arguments)
        except TimeoutError:
            raise WorkerError(f"{self._spell(member)} does not answer") from None
        except SimulatorError:
            raise
        except (OSError, RuntimeError) as error:
            raise WorkerError(f"{self._spell(member)} ended, or cannot be reached any more") from error

    def _spell(self, member: Member) -> str:
        return f"the worker on {member.introduction.host}, process {member.introduction.process},"


async def clock_ahead(ask: Callable[[], Awaitable[int]]) -> int:
    """Return how many nanoseconds another monotonic clock is ahead of ours, by the fastest of some trips."""
    trips = []
    for _ in range(ROUND_TRIPS):
        left = now()
        theirs = await ask()
        back = now()
        trips.append((back - left, theirs - (left + back) // 2))
    return min(trips)[1]


def python_of(packages: dict[str, str]) -> str:
    """Return Python's version as far as it matters: two numbers."""
    return ".".join(packages.get("python", "not installed").split(".")[:2])
