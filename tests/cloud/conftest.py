"""A fleet in a file, a relay that it connects to, and a whole run from the scenario to its report."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from simulator.engine.coordinator import Coordinator
from simulator.identity import pem
from simulator.identity.authority import Authority
from simulator.identity.store import FleetStore
from simulator.scenario.loader import load
from tests.engine.watching import Witness
from tests.support.changes import Changes
from tests.support.relay import Fate, Relay
from tests.support.tls import server_context

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from simulator.mqtt.packets import Publish
    from simulator.report.figures import Report

DEVICES = 3
NAMES = [f"units-{number:05}" for number in range(1, DEVICES + 1)]

SCENARIO = """\
title = "Three units are observed"
seed = 3
[broker]
kind = "external"
endpoints = ["{endpoint}"]
trust = ["broker.pem"]
[fleet.units]
devices = 3
store = "units.fleet"
[fleet.units.telemetry]
topic = "t/{{device}}"
every = "20ms"
qos = 1
[fleet.units.commands]
topic = "c/{{device}}"
answer = "a/{{device}}"
[observe]
[cloud]
client_id = "ear"
[[stage]]
name = "ramp"
connect = {{ fleet = "units", rate = "300/s" }}
[[stage]]
name = "steady"
duration = "400ms"
[limits]
drain = "200ms"
lag = "10s"
"""


@dataclass
class Scene:
    """Runs scenarios against a relay, in a folder of its own."""

    folder: Path
    relay: Relay
    stop: Callable[[], None] = field(init=False)
    """End the run that is under way early."""

    async def run(self, *overrides: str, text: str = SCENARIO) -> Report:
        path = self.folder / "units.toml"
        path.write_text(text.format(endpoint=self.relay.endpoint))
        with Coordinator(load(path, overrides), self.folder / "run", Witness()) as coordinator:
            self.stop = coordinator.stop
            return await coordinator.run()


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority.create("Units")


@pytest.fixture(scope="session")
def brokers() -> Authority:
    return Authority.create("Broker")


@pytest.fixture(scope="session")
def context(authority: Authority, brokers: Authority) -> ssl.SSLContext:
    return server_context(brokers.issue_server(["127.0.0.1"]), client_trust=[authority.root])


@pytest.fixture
def scene(
    authority: Authority, brokers: Authority, context: ssl.SSLContext, tmp_path: Path
) -> Callable[..., AbstractAsyncContextManager[Scene]]:
    """Return how to set a scene; its argument decides over the fate of each message."""

    @asynccontextmanager
    async def setting(fate: Callable[[Publish], Fate] = lambda _: Fate.PASS) -> AsyncIterator[Scene]:
        (tmp_path / "broker.pem").write_text(pem.certificates([brokers.root]))
        with FleetStore.create(tmp_path / "units.fleet", authority) as store:
            store.issue(DEVICES, prefix="units-")
        async with Relay(context, Changes(), fate) as relay:
            yield Scene(tmp_path, relay)

    return setting
