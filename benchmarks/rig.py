"""What every benchmark needs: a mosquitto, a fleet, and the product's own devices on it.

The generator runs in this process and the broker in its own, so ``time.process_time`` is the generator's CPU.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from simulator.brokers.mosquitto import MosquittoBroker
from simulator.clock import MILLISECOND, now
from simulator.engine.collector import quiet_collector
from simulator.scenario.kinds import KeyKind
from simulator.scenario.model import Scenario
from simulator.shard import Shard, ShardPlan

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from simulator.brokers.broker import Broker
    from simulator.identity.authority import Authority
    from simulator.identity.credential import Credential
    from simulator.metrics.sample import Failure
    from simulator.metrics.snapshot import Snapshot

Members = list[tuple[str, "Credential"]]


class BrokenBenchmarkError(Exception):
    """Something failed that must not fail, so that no figure may be printed."""


def issue(devices: int, authority: Authority) -> Members:
    """Issue P-256 credentials for so many devices."""
    names = [f"device-{number:05d}" for number in range(devices)]
    return list(
        zip(
            names,
            authority.issue_devices(names, key=KeyKind.EC_P256, validity=timedelta(days=1)),
            strict=True,
        )
    )


@asynccontextmanager
async def mosquitto(authority: Authority) -> AsyncIterator[Broker]:
    """Run a mosquitto that demands certificates of this authority."""
    broker = MosquittoBroker([authority.root])
    await broker.start()
    try:
        yield broker
    finally:
        await broker.stop()


def scenario(devices: int, stages: list[dict[str, Any]], *, every: str) -> Scenario:
    """Return a scenario of one fleet with 256-byte QoS 1 telemetry under TLS 1.3."""
    telemetry = {"topic": "fleet/{device}/telemetry", "every": every, "qos": 1, "payload": {"size": 256}}
    fleet = {"devices": devices, "tls": "1.3", "keepalive": "10m", "telemetry": telemetry}
    return Scenario.model_validate({"title": "benchmark", "fleet": {"bench": fleet}, "stage": stages})


async def run(plan: Scenario, members: Members, broker: Broker, emit: Callable[[Snapshot], None]) -> None:
    """Run a scenario on one inline shard; any failure ends the benchmark."""
    failures: list[Failure] = []
    shard = Shard(
        ShardPlan(plan, {"bench": members}, broker.endpoints, broker.trust, broker.server_name),
        emit=emit,
        on_failure=failures.append,
    )
    await shard.prepare()
    with quiet_collector():
        await shard.run(now() + 50 * MILLISECOND)
    if failures:
        raise BrokenBenchmarkError(f"{len(failures)} failures, the first: {failures[0]}")
