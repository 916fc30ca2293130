"""From a scenario's broker table to a broker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from simulator.brokers.embedded import EmbeddedBroker
from simulator.brokers.external import ExternalBroker
from simulator.brokers.launch import open_broker
from simulator.brokers.mosquitto import MosquittoBroker
from simulator.errors import BrokerError, UsageError
from simulator.scenario import model
from simulator.scenario.kinds import BrokerKind, Endpoint
from tests.support.tools import require

if TYPE_CHECKING:
    from pathlib import Path

    from simulator.brokers.broker import Broker
    from simulator.identity.authority import Authority


def test_embedded(authority: Authority) -> None:
    broker: Broker = open_broker(model.Broker(host="::1", port=8883), [authority.root])
    assert isinstance(broker, EmbeddedBroker)
    assert broker.endpoints == (Endpoint("::1", 8883),)


def test_mosquitto(authority: Authority) -> None:
    require("mosquitto")
    broker = open_broker(model.Broker(kind=BrokerKind.MOSQUITTO), [authority.root])
    assert isinstance(broker, MosquittoBroker)


def test_external_takes_its_trust_from_beside_the_scenario(tmp_path: Path, authority: Authority) -> None:
    (tmp_path / "ca.pem").write_text(authority.root_pem)
    settings = model.Broker.model_validate(
        {
            "kind": "external",
            "endpoints": ["broker.example:8883"],
            "trust": ["ca.pem"],
            "server_name": "mqtt.example",
        }
    )
    broker = open_broker(settings, [], folder=tmp_path)
    assert isinstance(broker, ExternalBroker)
    assert broker.endpoints == (Endpoint("broker.example", 8883),)
    assert (broker.trust, broker.server_name) == ((authority.root,), "mqtt.example")


def test_external_with_a_trust_file_that_is_missing() -> None:
    settings = model.Broker.model_validate(
        {"kind": "external", "endpoints": ["broker.example:8883"], "trust": ["missing.pem"]}
    )
    with pytest.raises(UsageError, match=r"missing\.pem"):
        open_broker(settings, [])


def test_says_how_to_install_mosquitto(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, authority: Authority
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("simulator.brokers.mosquitto._PLACES", str(tmp_path))
    with pytest.raises(
        BrokerError, match="not installed: install it with `sudo apt-get install mosquitto` or"
    ):
        open_broker(model.Broker(kind=BrokerKind.MOSQUITTO), [authority.root])


def test_finds_mosquitto_where_the_path_does_not_lead(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "mosquitto").write_text("#!/bin/sh\necho something else\n")
    (tmp_path / "mosquitto").chmod(0o700)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("simulator.brokers.mosquitto._PLACES", str(tmp_path))
    assert "mosquitto of unknown version" in MosquittoBroker([]).description
