"""A shard: a share of the fleets on one event loop, driven by the timetable, measured, and stopped in order.

It computes its own share from ``Part(index, count)``; one process alone is ``Part(0, 1)``, and there is no
second path. Once started it waits for nobody.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import psutil

from simulator.clock import SECOND, now
from simulator.devices.context import FleetContext, Gate, Target
from simulator.devices.device import DeviceState
from simulator.devices.virtual import VirtualDevice
from simulator.link.address import resolve
from simulator.link.tls import TlsClient, TlsSettings
from simulator.metrics.recorder import Recorder
from simulator.pacer import Pacer
from simulator.timetable import Part, Verb, timetable

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from simulator.devices.device import Device
    from simulator.identity.credential import Credential
    from simulator.metrics.sample import Failure
    from simulator.metrics.snapshot import Snapshot
    from simulator.scenario.kinds import Endpoint
    from simulator.scenario.model import Fleet, Scenario
    from simulator.timetable import Action, Call, StageTimes

__all__ = ["Shard", "ShardPlan"]


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """All that a shard has to be told. ``members`` holds each fleet's devices in order: name and credential."""

    scenario: Scenario
    members: dict[str, list[tuple[str, Credential]]]
    endpoints: tuple[Endpoint, ...]
    trust: tuple[bytes, ...]
    server_name: str | None
    part: Part = Part()


class Shard:
    """Runs its part of a plan. ``emit`` gets a snapshot each second and at each change of stage."""

    def __init__(
        self, plan: ShardPlan, *, emit: Callable[[Snapshot], None], on_failure: Callable[[Failure], None]
    ) -> None:
        self._plan = plan
        self._emit = emit
        self._on_failure = on_failure
        self._loop = asyncio.get_running_loop()
        self._pacer = Pacer(self._loop)
        self._contexts: dict[str, FleetContext] = {}
        self._devices: dict[str, dict[int, Device]] = {}
        self._targets: dict[str, tuple[Target, ...]] = {}
        self._stopped = False
        self._boundary = asyncio.Event()
        self._settled = asyncio.Event()
        self._process = psutil.Process()
        self._cpu = 0

    async def prepare(self) -> None:
        """Resolve names and check TLS settings; raises BrokerUnreachableError or UsageError before any load."""
        addresses = [await resolve(endpoint, self._loop) for endpoint in self._plan.endpoints]
        for name, fleet in self._plan.scenario.fleets.items():
            targets = []
            for address in addresses:
                host = fleet.server_name or self._plan.server_name or address.host
                tls = TlsClient(tls_settings(fleet, self._plan.trust), host)
                tls.check()
                targets.append(Target(address, tls))
            self._targets[name] = tuple(targets)

    def stop(self) -> None:
        """End the run early, in an orderly way: what was begun may finish, and every device says goodbye."""
        self._stopped = True
        self._boundary.set()

    async def run(self, start: int) -> None:
        """Run all stages from ``start`` (ns of the monotonic clock), then take every device off the broker."""
        recorder = Recorder(shard=self._plan.part.index, origin=start, on_failure=self._on_failure)
        self._cpu = time.process_time_ns()
        async with asyncio.TaskGroup() as group:

            def spawn(attempt: Coroutine[object, object, None], name: str) -> asyncio.Task[None]:
                return group.create_task(attempt, name=name)

            self._assemble(recorder, spawn, start)
            self._pacer.at(start + SECOND, partial(self._tick, recorder))
            for stage in timetable(self._plan.scenario):
                if self._stopped:
                    break
                await self._run_stage(stage, start, recorder)
            await self._finish(recorder)
            self._pacer.stop()

    def _assemble(
        self,
        recorder: Recorder,
        spawn: Callable[[Coroutine[object, object, None], str], asyncio.Task[None]],
        start: int,
    ) -> None:
        scenario, part = self._plan.scenario, self._plan.part
        gate = Gate(max(1, scenario.limits.connecting // part.count))
        wall_offset = time.time_ns() - now()
        for name, fleet in scenario.fleets.items():
            context = self._contexts[name] = FleetContext(
                name,
                fleet,
                targets=self._targets[name],
                loop=self._loop,
                pacer=self._pacer,
                recorder=recorder,
                gate=gate,
                spawn=spawn,
                on_idle=self._check_settled,
                seed=scenario.seed,
                wall_offset=wall_offset,
            )
            self._devices[name] = {
                index: VirtualDevice(device, index, credential, context)
                for index, (device, credential) in enumerate(self._plan.members[name])
                if part.owns(index)
            }

    async def _run_stage(self, stage: StageTimes, start: int, recorder: Recorder) -> None:
        recorder.stage = stage.name
        for action in stage.actions:
            self._schedule(action, start)
        self._boundary.clear()
        self._pacer.at(start + stage.end, lambda _: self._boundary.set())
        await self._boundary.wait()
        self._snapshot(recorder)

    def _schedule(self, action: Action, start: int) -> None:
        """Let the pacer walk along an action's calls; the walk holds one place in its queue."""
        devices = self._devices[action.fleet]
        ask = asking(action)
        calls: Iterator[Call] = (call for call in action if self._plan.part.owns(call.device))
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

    async def _finish(self, recorder: Recorder) -> None:
        for context in self._contexts.values():
            context.finishing = True
        for devices in self._devices.values():
            for number, device in enumerate(devices.values()):
                device.finish()
                if number % FAREWELLS == 0:
                    await asyncio.sleep(0)
        self._check_settled()
        try:
            async with asyncio.timeout(self._plan.scenario.limits.drain / SECOND):
                await self._settled.wait()
        except TimeoutError:
            for devices in self._devices.values():
                for device in devices.values():
                    device.abandon()
        self._snapshot(recorder)

    def _check_settled(self) -> None:
        contexts = self._contexts.values()
        if all(
            context.finishing and context.population.total() == context.population[DeviceState.IDLE]
            for context in contexts
        ):
            self._settled.set()

    def _tick(self, recorder: Recorder, due: int) -> int:
        self._snapshot(recorder)
        return due + SECOND

    def _snapshot(self, recorder: Recorder) -> None:
        cpu = time.process_time_ns()
        states = {
            name: {str(state): number for state, number in context.population.items()}
            for name, context in self._contexts.items()
        }
        self._emit(
            recorder.snapshot(now(), devices=states, cpu=cpu - self._cpu, rss=self._process.memory_info().rss)
        )
        self._cpu = cpu


FAREWELLS = 64
"""Devices that leave before the loop may read again."""


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
            qos = action.publishing.qos if action.publishing else None
            return lambda device, due: device.publish(due, qos)
