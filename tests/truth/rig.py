"""The product's own shard against the faulty broker, and all that came of it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator.clock import MILLISECOND, now
from simulator.engine.collector import quiet_collector
from simulator.identity import pem
from simulator.metrics.outcome import Outcome
from simulator.metrics.snapshot import Totals
from simulator.scenario.model import Scenario
from simulator.shard import Shard, ShardPlan
from simulator.timetable import StageTimes, Verb, timetable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from simulator.identity.credential import Credential
    from simulator.metrics.sample import Failure, Phase
    from tests.support.faulty_process import FaultyBroker, Port

FLEET = "units"
HEAD_START = 50 * MILLISECOND
VERBS = ("connect", "reconnect", "disconnect", "publish")


@dataclass
class Measured:
    """What the product says about one run, and the times that it does not choose itself."""

    stages: tuple[StageTimes, ...]
    wall_offset: int
    """Nanoseconds from the monotonic clock to the wall clock, which messages tell their due time by."""
    start: int = 0
    """Of the run, monotonic nanoseconds; offsets in the timetable count from here."""
    totals: Totals = field(default_factory=Totals)
    failures: list[Failure] = field(default_factory=list)
    ended: int = 0

    @property
    def overtime(self) -> int:
        """Nanoseconds from the planned end of the last stage to the end of the run."""
        return self.ended - self.start - self.stages[-1].end

    def ok(self, phase: Phase) -> int:
        return self.totals.outcomes(phase=phase)[Outcome.OK]

    def connects_due(self) -> dict[str, int]:
        """When each device was to connect, by its name."""
        connects = (
            action for stage in self.stages for action in stage.actions if action.verb is Verb.CONNECT
        )
        return {name_of(call.device): self.start + call.at for action in connects for call in action}


def name_of(index: int) -> str:
    return f"unit-{index:05d}"


def scenario(devices: int, *stages: dict[str, Any], **fleet: Any) -> Scenario:
    """Return a scenario of one fleet that says nothing by itself, and does not come back by itself."""
    telemetry = {"topic": "t/{device}", "every": "1h", "qos": 1, "payload": {"size": 128}}
    settings = {"devices": devices, "telemetry": telemetry, "reconnect": {"enabled": False}, **fleet}
    return Scenario.model_validate(
        {
            "title": "Truth",
            "broker": {"kind": "external", "endpoints": ["127.0.0.1:1"]},
            "fleet": {FLEET: settings},
            "stage": [named(number, stage) for number, stage in enumerate(stages)],
            "limits": {"drain": "1s"},
        }
    )


def named(number: int, stage: dict[str, Any]) -> dict[str, Any]:
    """Return a stage with a name, and its actions with the fleet."""
    acting = {key: {"fleet": FLEET, **value} if key in VERBS else value for key, value in stage.items()}
    return {"name": f"stage {number}", **acting}


def open_descriptors() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


class Rig:
    """The faulty broker, and a fleet that it trusts."""

    def __init__(self, broker: FaultyBroker, members: list[tuple[str, Credential]], trust: bytes) -> None:
        self.broker = broker
        self._members = members
        self._trust = trust

    @property
    def trust_pem(self) -> str:
        """What the broker's own certificate chains to."""
        return pem.certificates([self._trust])

    async def run(
        self, plan: Scenario, ports: Iterable[Port], *, at_start: Callable[[int], None] | None = None
    ) -> Measured:
        """Run a scenario on one shard, as the coordinator does; ``at_start`` is told when it will begin.

        Fails where a descriptor or a task is left, at once: later the broker would end what we had not.
        """
        descriptors = open_descriptors()
        measured = Measured(timetable(plan), time.time_ns() - now())
        members = {FLEET: self._members[: plan.fleets[FLEET].devices]}
        endpoints = tuple(port.endpoint for port in ports)
        shard = Shard(
            ShardPlan(plan, members, endpoints, (self._trust,), None),
            emit=measured.totals.add,
            on_failure=measured.failures.append,
        )
        await shard.prepare()
        with quiet_collector():
            measured.start = now() + HEAD_START
            if at_start is not None:
                at_start(measured.start)
            await shard.run(measured.start)
        measured.ended = now()
        assert open_descriptors() == descriptors
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return measured
