"""From a scenario's broker table to a broker. This module must not know what a run does with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from simulator.brokers.embedded import EmbeddedBroker
from simulator.brokers.external import ExternalBroker, read_trust
from simulator.brokers.mosquitto import MosquittoBroker
from simulator.brokers.several import SeveralBrokers
from simulator.identity.authority import Authority
from simulator.scenario.kinds import BrokerKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulator.brokers.broker import Broker
    from simulator.scenario import model

__all__ = ["open_broker"]


def open_broker(
    settings: model.Broker, client_trust: Sequence[bytes] = (), *, folder: Path | None = None
) -> Broker:
    """Return the broker that ``settings`` describe, not started.

    ``client_trust`` are the DER certificates that the fleet's certificates chain to, where they are known by
    now (see ``Broker.admit``); an external broker has been told of them by its operator. Paths in
    ``settings`` start from ``folder``, by default the current. Raises UsageError where a trust file cannot be
    used, and BrokerError where mosquitto is not installed.
    """
    match settings.kind:
        case BrokerKind.EMBEDDED:
            return EmbeddedBroker(client_trust, host=settings.host, port=settings.port)
        case BrokerKind.MOSQUITTO:
            return open_mosquitto(settings, client_trust)
        case BrokerKind.EXTERNAL:
            paths = [(folder or Path()) / Path(path).expanduser() for path in settings.trust]
            return ExternalBroker(
                settings.endpoints, trust=read_trust(paths), server_name=settings.server_name
            )


def open_mosquitto(settings: model.Broker, client_trust: Sequence[bytes]) -> Broker:
    """Return the mosquitto that ``settings`` describe, or as many as they want, under one authority."""
    if settings.count == 1:
        return MosquittoBroker(client_trust, host=settings.host, port=settings.port)
    authority = Authority.create("mosquitto brokers")
    return SeveralBrokers(
        MosquittoBroker(
            client_trust,
            host=settings.host,
            port=settings.port + number if settings.port else 0,
            authority=authority,
        )
        for number in range(settings.count)
    )
