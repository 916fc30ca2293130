"""A shard: a share of the fleets on one event loop, driven by the timetable, measured, and stopped in order.

It computes its own share from ``Part(index, count)``; one process alone is ``Part(0, 1)``, and there is no
second path. Once started it waits for nobody.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import count
from typing import TYPE_CHECKING, Any

import psutil

from simulator.clock import MILLISECOND, SECOND, now, wall_offset
from simulator.devices.context import FleetContext, Gate, Target
from simulator.devices.virtual import VirtualDevice
from simulator.errors import UsageError
from simulator.link.address import resolve
from simulator.link.source import sources_here
from simulator.link.tls import TlsClient, TlsSettings
from simulator.metrics.recorder import Recorder
from simulator.pacer import Pacer
from simulator.scenario.kinds import BrokerKind
from simulator.scenario.model import Publishing
from simulator.timetable import Part, Verb, timetable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping

    from simulator.devices.device import Device
    from simulator.devices.ear import Ear
    from simulator.identity.credential import Credential
    from simulator.link.address import Address
    from simulator.link.key_log import KeyLog
    from simulator.link.source import Sources
    from simulator.metrics.sample import Failure
    from simulator.metrics.snapshot import Snapshot
    from simulator.scenario.kinds import Endpoint
    from simulator.scenario.model import Fleet, Scenario
    from simulator.timetable import Action

__all__ = ["Shard", "ShardPlan"]


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """All that a shard has to be told; ``members`` are its own devices by fleet, in order."""

    scenario: Scenario
    members: dict[str, list[tuple[str, Credential]]]
    endpoints: tuple[Endpoint, ...]
    trust: tuple[bytes, ...]
    server_name: str | None
    part: Part = field(default_factory=Part)
    key_log: KeyLog | None = None
    wall_offset: int = field(default_factory=wall_offset)
    """Of the machine that the shard runs on; messages say by it when they were due."""

    def share(self, part: Part) -> ShardPlan:
        """Return the part of a whole plan, with the devices of that part alone."""
        own = {name: devices[part.index :: part.count] for name, devices in self.members.items()}
        return replace(self, members=own, part=part)


class Shard:
    """Runs its part of a plan. ``emit`` gets a snapshot each second and at each change of stage.

    ``ears``, by fleet, learn what its devices publish and are told. ``linger`` is waited for after the last
    stage, while all devices are still there; a run that was stopped cancels it where it takes long.
    """

    def __init__(
        self,
        plan: ShardPlan,
        *,
        emit: Callable[[Snapshot], None],
        on_failure: Callable[[Failure], None],
        ears: Mapping[str, Ear] | None = None,
        linger: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._plan = plan
        self._ears = ears or {}
        self._linger = linger
        self._emit = emit
        self._loop = asyncio.get_running_loop()
        self._pacer = Pacer(self._loop)
        self._recorder = Recorder(shard=plan.part.index, origin=0, on_failure=on_failure)
        self._contexts: dict[str, FleetContext] = {}
        self._devices: dict[str, dict[int, Device]] = {}
        self._group: asyncio.TaskGroup | None = None
        self._over = asyncio.Event()
        self._settled = asyncio.Event()
        self._stopped = False
        self._latest: float | None = None
        """Loop time at which a run that was stopped waits for nothing more."""
        self._limit: asyncio.Timeout | None = None
        """Of what is being waited for before the goodbyes."""
        self._bug: BaseException | None = None
        self._process = psutil.Process()
        self._cpu = 0

    async def prepare(self) -> None:
        """Look for source addresses, resolve names, check TLS settings and make the devices.

        Raises BrokerUnreachableError or UsageError, before there is any load.
        """
        try:
            sources = sources_here(self._plan.scenario.link.source)
            found = [await resolve(endpoint, self._loop, sources) for endpoint in self._plan.endpoints]
            self._assemble(found, sources)
        except BaseException:
            self._pacer.stop()
            raise

    def _assemble(self, addresses: list[Address], sources: Sources) -> None:
        part = self._plan.part
        gate = Gate(max(1, self._plan.scenario.limits.connecting // part.count))
        for name, fleet in self._plan.scenario.fleets.items():
            targets = self._targets(fleet, addresses, sources)
            context = self._contexts[name] = self._context(name, fleet, targets, gate)
            self._devices[name] = {
                index: new_device(device, index, credential, context)
                for index, (device, credential) in zip(
                    count(part.index, part.count), self._plan.members[name], strict=False
                )
            }

    def stop(self) -> None:
        """End the run early, in an orderly way: what was begun may end soon, and all devices say goodbye."""
        self._stopped = True
        self._over.set()
        if self._latest is None:
            self._latest = latest = self._loop.time() + LAST_WAIT
            if self._limit is not None and not self._limit.expired():
                self._limit.reschedule(min(self._limit.when() or latest, latest))

    async def run(self, start: int) -> None:
        """Run all stages from ``start`` (ns of the monotonic clock), then take every device off the broker.

        Whatever fails inside a callback, where no outcome covers it, is a bug: it ends the run and is raised.
        """
        self._recorder.origin = start
        self._cpu = time.process_time_ns()
        self._loop.set_exception_handler(self._on_bug)
        try:
            async with asyncio.TaskGroup() as self._group:
                self._pacer.at(start + SECOND, self._tick)
                self._pacer.at(start + FOLD_EVERY, self._fold)
                self._run_stages(start)
                await self._over.wait()
                await self._finish()
            self._snapshot()  # now that every attempt has ended, whichever way
        except BaseException:
            self._abandon()
            raise
        finally:
            self._pacer.stop()
            self._loop.set_exception_handler(None)
        if self._bug is not None:
            raise self._bug

    def _targets(self, fleet: Fleet, addresses: list[Address], sources: Sources) -> tuple[Target, ...]:
        settings = tls_settings(fleet, self._plan.trust)
        targets = []
        for address in addresses:
            host = fleet.server_name or self._plan.server_name or address.host
            tls = TlsClient(settings, host, self._plan.key_log)
            tls.check()
            targets.append(Target(address, tls, sources.get(address.family, ())))
        return tuple(targets)

    def _context(self, name: str, fleet: Fleet, targets: tuple[Target, ...], gate: Gate) -> FleetContext:
        return FleetContext(
            name,
            fleet,
            targets=targets,
            loop=self._loop,
            pacer=self._pacer,
            recorder=self._recorder,
            gate=gate,
            spawn=self._spawn,
            on_idle=self._check_settled,
            seed=self._plan.scenario.seed,
            wall_offset=self._plan.wall_offset,
            ear=self._ears.get(name),
            roaming=self._plan.scenario.broker.kind is BrokerKind.EXTERNAL,
        )

    def _spawn(self, attempt: Coroutine[object, object, None], name: str) -> None:
        if self._group is None:
            raise RuntimeError("a device may connect only while the shard runs")
        self._group.create_task(attempt, name=name)

    def _on_bug(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self._bug = self._bug or context.get("exception") or RuntimeError(context["message"])
        self.stop()

    def _run_stages(self, start: int) -> None:
        """Let the pacer turn from stage to stage, in the order of time.

        So nothing is counted in a stage that became due after its end, however late the loop is.
        """
        stages = iter(timetable(self._plan.scenario))

        def turn(due: int) -> None:
            if self._stopped:
                return
            if due > start:
                self._snapshot()
            stage = next(stages, None)
            if stage is None:
                self._drain()
                self._over.set()
                return
            self._recorder.stage = stage.name
            for action in stage.actions:
                self._schedule(action, start)
            self._pacer.at(start + stage.end, turn)  # behind what is due at that very time, the last of them

        self._pacer.at(start, turn)

    def _schedule(self, action: Action, start: int) -> None:
        """Let the pacer walk along an action's calls; the walk holds one place in its queue."""
        devices = self._devices[action.fleet]
        ask = asking(action)
        calls = action.calls(self._plan.part)
        following = next(calls, None)
        if following is None:
            return
        pending = following

        def walk(due: int) -> int | None:
            nonlocal pending
            if self._stopped:
                return None
            ask(devices[pending.device], due)
            upcoming = next(calls, None)
            if upcoming is None:
                return None
            pending = upcoming
            return start + pending.at

        self._pacer.at(start + following.at, walk)

    def _drain(self) -> None:
        """Let nothing new begin; what is measured from here on belongs to no stage."""
        self._recorder.draining = True
        for context in self._contexts.values():
            context.finishing = True

    async def _finish(self) -> None:
        if self._recorder.stage and not self._recorder.draining:  # stopped in the middle of it
            self._snapshot()
        self._drain()
        if self._linger is not None:
            async with self._waiting(None):
                await self._linger()
        for devices in self._devices.values():
            for number, device in enumerate(devices.values()):
                device.finish()
                if number % FAREWELLS == 0:
                    await asyncio.sleep(0)
        self._check_settled()
        async with self._waiting(self._loop.time() + self._plan.scenario.limits.drain / SECOND):
            await self._settled.wait()
        if not self._settled.is_set():
            self._abandon()

    @asynccontextmanager
    async def _waiting(self, until: float | None) -> AsyncIterator[None]:
        """Break off what is inside at that loop time, or when a run that was stopped must end."""
        ends = [end for end in (until, self._latest) if end is not None]
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(min(ends, default=None)) as self._limit:
                    yield
        finally:
            self._limit = None

    def _abandon(self) -> None:
        """Take every device off the broker at once, whatever it still waits for."""
        for context in self._contexts.values():
            context.finishing = True
        for devices in self._devices.values():
            for device in devices.values():
                device.finish()
                device.abandon()

    def _check_settled(self) -> None:
        if all(context.settled for context in self._contexts.values()):
            self._settled.set()

    def _tick(self, due: int) -> int:
        self._snapshot()
        return due + SECOND

    def _fold(self, due: int) -> int:
        self._recorder.fold()
        return due + FOLD_EVERY

    def _snapshot(self) -> None:
        cpu = time.process_time_ns()
        states = {
            name: {str(state): number for state, number in context.population.items()}
            for name, context in self._contexts.items()
        }
        rss = self._process.memory_info().rss
        self._emit(self._recorder.snapshot(now(), devices=states, cpu=cpu - self._cpu, rss=rss))
        self._cpu = cpu


FOLD_EVERY = 100 * MILLISECOND
"""How often samples become histograms: often enough that no batch of them holds anybody up."""

LAST_WAIT = 2.0
"""Seconds after ``stop`` in which what is under way may still end: a healthy broker answers sooner.

Whoever asked for the end must not take the run for hung, and kill it before its devices have said DISCONNECT.
"""

FAREWELLS = 4
"""Devices that leave before the loop may read again: more would show as latency of what is under way."""


def new_device(name: str, index: int, credential: Credential, context: FleetContext) -> Device:
    """Make a device; raise UsageError where OpenSSL cannot use its credential."""
    try:
        return VirtualDevice(name, index, credential, context)
    except ValueError as error:
        raise UsageError(
            f"device {name} of fleet {context.name} cannot be used: {error}; issue or import it anew"
        ) from error


def tls_settings(fleet: Fleet, trust: tuple[bytes, ...]) -> TlsSettings:
    """Return what the devices of a fleet offer and demand in a handshake."""
    return TlsSettings(fleet.tls, fleet.groups, fleet.ciphers, fleet.alpn, trust, fleet.verify_host_name)


def asking(action: Action) -> Callable[[Device, int], None]:
    """Return the call that asks one device for what an action wants."""
    match action.verb:
        case Verb.CONNECT:
            return lambda device, due: device.connect(due)
        case Verb.RECONNECT:
            return lambda device, due: device.reconnect(due, abrupt=action.abrupt)
        case Verb.DISCONNECT:
            return lambda device, due: device.disconnect(due)
        case Verb.PUBLISH:
            qos = action.publishing.qos if isinstance(action.publishing, Publishing) else None
            return lambda device, due: device.publish(due, qos)
