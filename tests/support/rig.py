"""A fleet without a shard: real pacer, recorder and gate, and devices whose every move can be waited for."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Self

from simulator.clock import now
from simulator.devices.context import FleetContext, Gate, Target
from simulator.devices.device import DeviceState
from simulator.devices.virtual import VirtualDevice
from simulator.link.address import resolve
from simulator.link.tls import TlsClient
from simulator.metrics.recorder import Recorder
from simulator.pacer import Pacer
from simulator.shard import tls_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import TracebackType

    from simulator.identity.credential import Credential
    from simulator.metrics.sample import Failure, Phase, Sample
    from simulator.scenario.kinds import Endpoint
    from simulator.scenario.model import Fleet
    from tests.support.changes import Changes


class WatchedPacer(Pacer):
    """Tells after each waking, and keeps how long from now each action was to wait."""

    def __init__(self, loop: asyncio.AbstractEventLoop, changes: Changes) -> None:
        self._changes = changes
        self.waits: list[tuple[int, Callable[[int], int | None]]] = []
        super().__init__(loop)

    def at(self, due: int, action: Callable[[int], int | None]) -> None:
        self.waits.append((due - now(), action))
        super().at(due, action)

    def _wake(self) -> None:
        super()._wake()
        self._changes.poke()


class WatchedContext(FleetContext):
    """Tells of each move of a device."""

    changes: Changes

    def moved(self, before: DeviceState, after: DeviceState) -> None:
        super().moved(before, after)
        self.changes.poke()


class Rig:
    """Enter it on a running loop; at the end every device has left, or the test fails."""

    def __init__(
        self,
        fleet: Fleet,
        changes: Changes,
        *,
        endpoints: tuple[Endpoint, ...],
        trust: tuple[bytes, ...],
        connecting: int = 100,
        seed: int = 7,
    ) -> None:
        self.fleet = fleet
        self.changes = changes
        self.failures: list[Failure] = []
        self.gate = Gate(connecting)
        self.devices: list[VirtualDevice] = []
        self._endpoints = endpoints
        self._trust = trust
        self._seed = seed
        self._group = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self.pacer = WatchedPacer(loop, self.changes)
        self.recorder = Recorder(shard=0, origin=0, on_failure=self._failed)
        settings = tls_settings(self.fleet, self._trust)
        addresses = [await resolve(endpoint, loop) for endpoint in self._endpoints]
        await self._group.__aenter__()
        self.context = WatchedContext(
            "core2",
            self.fleet,
            targets=tuple(Target(each, TlsClient(settings, each.host)) for each in addresses),
            loop=loop,
            pacer=self.pacer,
            recorder=self.recorder,
            gate=self.gate,
            spawn=self._spawn,
            on_idle=self.changes.poke,
            seed=self._seed,
            wall_offset=time.time_ns() - now(),
        )
        self.context.changes = self.changes
        self.context.publish_ok = self._telling(self.context.publish_ok)
        self.context.subscribe_ok = self._telling(self.context.subscribe_ok)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.context.finishing = True
        for device in self.devices:
            device.finish()
            device.abandon()
        try:
            await self._group.__aexit__(kind, error, trace)
        finally:
            self.pacer.stop()
        if error is None:
            assert self.context.settled, self.context.population
            assert self.gate.used == 0

    def add(self, credential: Credential | None, index: int = 0) -> VirtualDevice:
        device = VirtualDevice(f"core2-{index:05}", index, credential, self.context)
        self.devices.append(device)
        return device

    async def connected(self, credential: Credential | None, index: int = 0) -> VirtualDevice:
        """Return a new device, connected."""
        device = self.add(credential, index)
        device.connect(now())
        await self.comes_to(device, DeviceState.CONNECTED)
        return device

    async def comes_to(self, device: VirtualDevice, state: DeviceState) -> None:
        await self.changes.until(lambda: device.state is state)

    async def fails(self, number: int = 1) -> Failure:
        """Wait for the number-th failure, and return it."""
        await self.changes.until(lambda: len(self.failures) >= number)
        return self.failures[number - 1]

    async def succeeds(self, phase: Phase, number: int = 1) -> Sample:
        """Wait for the number-th success in a phase, and return it."""
        ok = self.ok(phase)
        await self.changes.until(lambda: len(ok) >= number)
        return ok[number - 1]

    def ok(self, phase: Phase) -> list[Sample]:
        return self.recorder.series("core2", phase).ok

    def _failed(self, failure: Failure) -> None:
        self.failures.append(failure)
        self.changes.poke()

    def _spawn(self, attempt: Coroutine[object, object, None], name: str) -> None:
        self._group.create_task(attempt, name=name)

    def _telling(self, append: Callable[[Sample], None]) -> Callable[[Sample], None]:
        def told(sample: Sample) -> None:
            append(sample)
            self.changes.poke()

        return told
