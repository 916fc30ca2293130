"""The sender of commands where the run ends just when the broker answers, or fails to."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import aiomqtt
import pytest

from simulator.clock import now
from simulator.cloud.commander import Commander
from simulator.metrics.outcome import Outcome
from simulator.metrics.recorder import Recorder
from simulator.scenario.model import Commands

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from simulator.cloud.client import CloudClient
    from simulator.metrics.sample import Failure


class Broker:
    """Stands for the connection: acknowledges when ``verdict`` is there, or raises what it is."""

    broken_at = None

    def __init__(self) -> None:
        self.verdict: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def publish(self, topic: str, payload: bytes, qos: int) -> None:
        await self.verdict


@pytest.mark.parametrize("acknowledged", [True, False], ids=["acknowledged", "broken off"])
async def test_what_ends_after_it_was_given_up_counts_once(*, acknowledged: bool) -> None:
    failures: list[Failure] = []
    tasks: list[asyncio.Task[None]] = []

    def spawn(work: Coroutine[object, object, None]) -> None:
        tasks.append(asyncio.get_running_loop().create_task(work))

    broker = Broker()
    commander = Commander(
        "units",
        Commands(topic="c/{device}", answer="a/{device}"),
        Recorder(shard=0, origin=now(), on_failure=failures.append),
        cast("CloudClient", broker),
        spawn,
    )
    commander.send("a", now())
    await asyncio.sleep(0)
    commander.give_up()
    if acknowledged:
        broker.verdict.set_result(None)
    else:
        broker.verdict.set_exception(aiomqtt.MqttError("gone"))
    (task,) = tasks
    await task
    assert [failure.outcome for failure in failures] == [Outcome.UNFINISHED]
