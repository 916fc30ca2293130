"""A fleet of two, and each of the brokers that this package starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from simulator.brokers.embedded import EmbeddedBroker
from simulator.brokers.mosquitto import MosquittoBroker
from simulator.identity.authority import Authority
from simulator.scenario.kinds import BrokerKind
from tests.brokers.wire import Papers
from tests.support.offspring import remember_elders
from tests.support.tools import require

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator.brokers.managed import ManagedBroker

__all__ = ["remember_elders"]

KINDS = (BrokerKind.EMBEDDED, BrokerKind.MOSQUITTO)


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority.create("Fleet")


@pytest.fixture(scope="session")
def papers(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Papers:
    return Papers.issue(authority, "device-00001", tmp_path_factory.mktemp("fleet"))


@pytest.fixture(params=KINDS, scope="module")
def make(request: pytest.FixtureRequest) -> Callable[..., ManagedBroker]:
    """Return the class of a broker that this package starts."""
    kind: BrokerKind = request.param
    if kind is BrokerKind.MOSQUITTO:
        require("mosquitto")
        return MosquittoBroker
    return EmbeddedBroker
