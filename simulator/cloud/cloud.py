"""The cloud's side of one run: its connection, what it hears and says for each fleet, and what it measured.

It sees devices from outside, through the broker; what they themselves say they did comes in through their
``Ear``. This module must not know shards, certificates or files.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from simulator.clock import MILLISECOND, SECOND, now
from simulator.cloud.client import CloudClient
from simulator.cloud.commander import Commander
from simulator.cloud.observer import Observer
from simulator.cloud.side import Side
from simulator.metrics.delivery import Hearing
from simulator.metrics.recorder import Recorder
from simulator.pacer import Pacer
from simulator.scenario import listening

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
    from types import TracebackType

    import aiomqtt

    from simulator.cloud.side import Handler
    from simulator.cloud.tls import CloudContext
    from simulator.metrics.delivery import DeviceDelivery
    from simulator.metrics.ledger import Ledger
    from simulator.metrics.sample import Failure
    from simulator.metrics.snapshot import Snapshot
    from simulator.scenario.kinds import Endpoint
    from simulator.scenario.model import Scenario
    from simulator.timetable import Action, StageTimes

__all__ = ["Cloud"]

CLOUD = -1
"""The number that stands in snapshots for the cloud, which is no shard."""

LOOK_EVERY = 20 * MILLISECOND
"""How often it is looked whether something waits to be read."""

FOLD_EVERY = 100 * MILLISECOND


class Cloud:
    """Observes and commands the fleets of one run; entered, it is connected.

    ``devices`` are the names of each fleet's devices in order; ``emit`` gets a snapshot each second.
    """

    def __init__(
        self,
        scenario: Scenario,
        devices: Mapping[str, Sequence[str]],
        *,
        endpoint: Endpoint,
        context: CloudContext,
        client_id: str,
        wall_offset: int,
        emit: Callable[[Snapshot], None],
        on_failure: Callable[[Failure], None],
    ) -> None:
        self._gauge = context.gauge
        self._emit = emit
        self._patience = scenario.limits.drain
        self._recorder = Recorder(shard=CLOUD, origin=0, on_failure=on_failure)
        self._recorder.draining = True  # its intervals belong to no stage: messages need time to be heard
        wanted = listening.filters(scenario.observe, scenario.fleets, scenario.stages)
        self._client = CloudClient(endpoint, context, client_id, wanted, self._take)
        self.sides = dict(self._sides(scenario, devices, wall_offset))
        self._routes = routes(self.sides.values())
        self._observers: tuple[Handler, ...] = tuple(
            side.observer.heard for side in self.sides.values() if side.observer is not None
        )
        self._group: asyncio.TaskGroup | None = None
        self._held: deque[tuple[str, object, int]] | None = None
        """What was heard and cannot be judged yet: topic, payload and when; None where all can be at once."""
        self._looked = asyncio.Event()
        self._stopped = self._settled = False
        self._messages = self._retained = self._strangers = self._breaks = self._away = 0

    def _sides(
        self, scenario: Scenario, devices: Mapping[str, Sequence[str]], wall_offset: int
    ) -> Iterator[tuple[str, Side]]:
        """Yield the fleets that are observed, commanded, or both."""
        observed = listening.observed(scenario.observe, scenario.fleets)
        commanded = listening.commanded(scenario.fleets, scenario.stages)
        for name, fleet in scenario.fleets.items():
            observer = commander = None
            if fleet.telemetry is not None and name in observed:
                observer = Observer(name, fleet.telemetry, devices[name], self._recorder, wall_offset)
            if fleet.commands is not None and name in commanded:
                commander = Commander(name, fleet.commands, self._recorder, self._client, self._spawn)
            if observer or commander:
                yield name, Side(name, fleet, devices[name], observer, commander)

    async def __aenter__(self) -> Self:
        """Connect and subscribe; raise UsageError where the broker does not let us."""
        await self._client.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.close()

    async def run(self, stages: Sequence[StageTimes], start: int) -> None:
        """Hear, and send commands when they are due, until cancelled; ``start`` is that of the run."""
        self._recorder.origin = start
        pacer = Pacer(asyncio.get_running_loop())
        try:
            async with asyncio.TaskGroup() as self._group:
                self._group.create_task(self._client.keep(self._on_break), name="cloud client")
                pacer.at(start + SECOND, self._tick)
                pacer.at(start + FOLD_EVERY, self._fold)
                pacer.at(start + LOOK_EVERY, self._look)
                for stage in stages:
                    if stage.command is not None:
                        self._schedule(pacer, stage.command, start)
        finally:
            self._group = None
            pacer.stop()
            if not self._settled:
                self._tick(0)

    async def finish_commands(self) -> None:
        """Send no more commands, and wait for those under way while devices are still there for them.

        Where that is cancelled, the devices leave too soon for what was sent of late to be called lost.
        """
        self._stopped = True
        commanders = [side.commander for side in self.sides.values() if side.commander is not None]
        ledgers = [ledger for each in commanders for ledger in (each.commands, each.answers)]
        try:
            await self._wait_for(ledgers)
        except asyncio.CancelledError:
            for ledger in ledgers:
                ledger.unobserved(now() - self._patience, now())
            raise

    async def drain(self) -> None:
        """Wait for what is under way to the observer."""
        await self._wait_for([ledger for side in self.sides.values() for ledger in side.heard])

    def settle(self) -> None:
        """Decide what was lost; what is heard from now on does not count."""
        if self._client.broken_at is not None:
            self._on_break(self._client.broken_at, now())
        self._settled = True
        self.judge(None)
        for side in self.sides.values():
            if side.commander is not None:
                side.commander.give_up()
        for ledger in self._ledgers():
            ledger.settle()
        self._tick(0)

    def devices(self) -> Iterator[DeviceDelivery]:
        """Yield what became of the messages of each device."""
        for ledger in self._ledgers():
            yield from ledger.devices()

    def hearing(self) -> Hearing:
        """Return how the observer itself has fared."""
        lag = self._gauge.lag
        return Hearing(
            messages=self._messages,
            retained=self._retained,
            strangers=self._strangers + sum(ledger.strangers for ledger in self._ledgers()),
            spent=self._gauge.spent,
            breaks=self._breaks,
            away=self._away,
            lag_p50=lag.percentile(50),
            lag_p99=lag.percentile(99),
            lag_max=lag.max,
        )

    def _ledgers(self) -> Iterator[Ledger]:
        for side in self.sides.values():
            yield from side.ledgers

    def _take(self, message: aiomqtt.Message) -> None:
        """Take a message at once, in the callback that read it."""
        if self._settled:
            return
        self._messages += 1
        if message.retain:  # kept from before the run: a live message has no such mark [MQTT-3.3.1-9]
            self._retained += 1
            return
        heard = (message.topic.value, message.payload, self._gauge.read_at)
        if self._held is None:
            self._judge(*heard)
        else:
            self._held.append(heard)

    def hold_back(self) -> None:
        """Judge nothing that is heard before ``judge`` says so: what devices say of themselves comes late."""
        self._held = deque()

    def judge(self, until: int | None) -> None:
        """Judge what was heard until then (monotonic ns), or all: what devices did before that is known."""
        held = self._held
        while held and (until is None or held[0][2] <= until):
            self._judge(*held.popleft())

    def _judge(self, topic: str, payload: object, at: int) -> None:
        for handle in self._routes.get(topic, self._observers):
            if isinstance(payload, bytes) and handle(payload, at):
                break
        else:
            self._strangers += 1

    async def _wait_for(self, ledgers: Sequence[Ledger]) -> None:
        """Wait until nothing is awaited any more, or for as long as the scenario lets a run drain."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._patience / SECOND):
                while any(ledger.awaited for ledger in ledgers) and self._client.broken_at is None:
                    self._looked.clear()
                    await self._looked.wait()

    def _on_break(self, since: int, until: int) -> None:
        """Take that the connection was away: what was under way then may have been delivered to nobody."""
        self._breaks += 1
        self._away += until - since
        for side in self.sides.values():
            for ledger in side.heard:
                ledger.unobserved(since - self._patience, until)

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        if self._group is None:
            raise RuntimeError("the cloud may send commands only while it runs")
        self._group.create_task(work, name="command")

    def _schedule(self, pacer: Pacer, action: Action, start: int) -> None:
        """Let the pacer walk along the calls of one stage's commands."""
        side = self.sides[action.fleet]
        calls = iter(action)
        pending = next(calls, None)

        def walk(due: int) -> int | None:
            nonlocal pending
            if self._stopped or pending is None or side.commander is None:
                return None
            side.commander.send(side.devices[pending.device], due)
            pending = next(calls, None)
            return start + pending.at if pending is not None else None

        if pending is not None:
            pacer.at(start + pending.at, walk)

    def _tick(self, due: int) -> int:
        self._emit(self._recorder.snapshot(now(), devices={}, cpu=0, rss=0))
        return due + SECOND

    def _fold(self, due: int) -> int:
        self._recorder.fold()
        return due + FOLD_EVERY

    def _look(self, due: int) -> int:
        self._gauge.look(due)
        self._looked.set()
        return due + LOOK_EVERY


def routes(sides: Iterable[Side]) -> dict[str, tuple[Handler, ...]]:
    """Return who takes what comes on a topic; several, where fleets share one."""
    whole: dict[str, tuple[Handler, ...]] = {}
    for side in sides:
        for topic, handler in side.routes():
            known = whole.get(topic, ())
            if handler not in known:
                whole[topic] = (*known, handler)
    return whole
