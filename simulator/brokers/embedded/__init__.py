"""The embedded broker, as the process that starts it sees it.

The broker itself, and amqtt with it, lives in a child process (``python -m simulator.brokers.embedded``), so
that it does not share an interpreter with the fleet. This module must not import amqtt.
"""

from __future__ import annotations

import base64
import json
import sys
from importlib import metadata
from typing import TYPE_CHECKING, ClassVar

from simulator.brokers.managed import ManagedBroker
from simulator.brokers.process import Command
from simulator.scenario.kinds import BrokerKind

if TYPE_CHECKING:
    from simulator.identity.credential import Credential
    from simulator.scenario.kinds import Endpoint

__all__ = ["EmbeddedBroker"]

_READY = "embedded broker running"


class EmbeddedBroker(ManagedBroker):
    """A broker that needs nothing installed: good for a first run, a demo and tests. MQTT 3.1.1 only."""

    kind: ClassVar[BrokerKind] = BrokerKind.EMBEDDED
    name: ClassVar[str] = "embedded broker"

    def _command(self, listen: Endpoint, credential: Credential) -> Command:
        """Return the command; the configuration, with the private key in it, goes through the pipe."""
        configuration = {
            "host": listen.host,
            "port": listen.port,
            "ready": _READY,
            "trust": [base64.b64encode(der).decode() for der in self._client_trust],
            "chain": credential.chain_pem(),
            "key": credential.key_pem(),
        }
        return Command(
            argv=(sys.executable, "-P", "-m", __name__),
            ready=_READY,
            stdin=json.dumps(configuration).encode() + b"\n",
        )

    @property
    def _program(self) -> str:
        return f"amqtt {metadata.version('amqtt')} (embedded)"
