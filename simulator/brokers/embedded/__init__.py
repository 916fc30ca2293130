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
from simulator.identity import pem
from simulator.scenario.kinds import BrokerKind

if TYPE_CHECKING:
    from simulator.brokers.process import Child
    from simulator.identity.credential import Credential
    from simulator.scenario.kinds import Endpoint

__all__ = ["EmbeddedBroker"]

_READY = "embedded broker running"
_TOOK = "embedded broker judges by new revocation lists"


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
            "crls": pem.revocation_lists(self._crls),
            "took": _TOOK,
            "trust": [base64.b64encode(der).decode() for der in self._client_trust],
            "chain": credential.chain_pem(),
            "key": credential.key_pem(),
        }
        return Command(
            argv=(sys.executable, "-P", "-m", __name__),
            ready=_READY,
            stdin=json.dumps(configuration).encode() + b"\n",
        )

    async def _renew_crls(self, child: Child) -> bool:
        """Send the lists in a line of their own; the broker answers when it judges by them."""
        line = json.dumps({"crls": pem.revocation_lists(self._crls)}).encode() + b"\n"
        return await child.reacts(_TOOK, lambda: child.write(line))

    @property
    def _program(self) -> str:
        return f"amqtt {metadata.version('amqtt')} (embedded)"
