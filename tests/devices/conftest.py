"""A fleet's and a broker's papers, and a rig against the scripted peer."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from simulator.identity.authority import Authority
from simulator.scenario.kinds import MqttVersion
from simulator.scenario.model import Fleet
from tests.support.changes import Changes
from tests.support.peer import Peer
from tests.support.rig import Rig
from tests.support.tls import server_context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from simulator.identity.credential import Credential
    from simulator.mqtt.packets import ConnAck

TELEMETRY = {"topic": "fleet/{device}/telemetry", "every": "10s", "qos": 1}


class Stand(NamedTuple):
    """A rig, the peer it is against, and the papers of the first device."""

    rig: Rig
    peer: Peer
    credential: Credential


@pytest.fixture(scope="session")
def fleet_authority() -> Authority:
    return Authority.create("Fleet")


@pytest.fixture(scope="session")
def broker_authority() -> Authority:
    return Authority.create("Broker")


@pytest.fixture(scope="session")
def device(fleet_authority: Authority) -> Credential:
    return fleet_authority.issue_device("core2-00000")


@pytest.fixture(scope="session")
def server(broker_authority: Authority) -> Credential:
    return broker_authority.issue_server(["127.0.0.1"])


@pytest.fixture
def stand(
    fleet_authority: Authority, broker_authority: Authority, device: Credential, server: Credential
) -> Callable[..., AbstractAsyncContextManager[Stand]]:
    """Return how to set up a fleet against a peer; keywords are the fleet's settings as a file has them."""

    @asynccontextmanager
    async def setting_up(
        *, connack: ConnAck | None = None, connecting: int = 100, seed: int = 7, **settings: Any
    ) -> AsyncIterator[Stand]:
        fleet = Fleet.model_validate({"devices": 10, "telemetry": TELEMETRY} | settings)
        context = server_context(server, client_trust=[fleet_authority.root])
        changes = Changes()
        version = MqttVersion(fleet.mqtt)
        async with (
            Peer(context, changes, version=version, connack=connack) as peer,
            Rig(
                fleet,
                changes,
                endpoints=(peer.endpoint,),
                trust=(broker_authority.root,),
                connecting=connecting,
                seed=seed,
            ) as rig,
        ):
            yield Stand(rig, peer, device)

    return setting_up
