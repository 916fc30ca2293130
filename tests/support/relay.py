"""A broker with real TLS that passes messages on, all but those that a test wants lost, doubled or held back.

What it does wrong is a function of the message alone, so a test knows the exact numbers.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

import aiomqtt

from simulator.mqtt.packets import Publish, SubAck, Subscribe
from tests.support.peer import Peer, ScriptedServer

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable

    from simulator.mqtt.packets import Packet
    from tests.support.changes import Changes


class Fate(Enum):
    """What becomes of one message."""

    PASS = auto()
    LOSE = auto()
    """Acknowledged, and passed on to nobody."""
    DOUBLE = auto()
    """Passed on twice."""
    HOLD = auto()
    """Passed on after the next one of the same topic."""
    IGNORE = auto()
    """Neither acknowledged nor passed on."""
    PASS_SILENTLY = auto()
    """Passed on, and not acknowledged."""


class RelayServer(ScriptedServer):
    """One client: what it subscribes to is what it gets."""

    def __init__(self, relay: Relay) -> None:
        super().__init__(relay)
        self._relay = relay
        self.filters: list[str] = []

    def _answer(self, packet: Packet) -> None:
        if isinstance(packet, Subscribe):
            self.filters = [each.filter for each in packet.subscriptions]
            if self._relay.refuses:
                self.send(SubAck(packet.packet_id, (0x80,) * len(self.filters)))
                return
        if not isinstance(packet, Publish):
            super()._answer(packet)
            return
        fate = self._relay.fate(packet)
        if fate not in {Fate.IGNORE, Fate.PASS_SILENTLY}:
            super()._answer(packet)
        self._relay.pass_on(packet, fate)


class Relay(Peer):
    """Passes messages on; ``fate`` decides over each. It may refuse all subscriptions."""

    def __init__(
        self, context: ssl.SSLContext, changes: Changes, fate: Callable[[Publish], Fate] = lambda _: Fate.PASS
    ) -> None:
        super().__init__(context, changes)
        self.fate = fate
        self.refuses = False
        self._relayed: dict[str, RelayServer] = {}
        self._held: dict[str, Publish] = {}

    def server_of(self, client_id: str) -> ScriptedServer:
        return self._relayed.setdefault(client_id, RelayServer(self))

    def pass_on(self, packet: Publish, fate: Fate) -> None:
        """Give a message to whoever subscribes to its topic."""
        held = self._held.pop(packet.topic, None)
        if fate is Fate.HOLD:
            self._held[packet.topic] = packet
        elif fate not in {Fate.LOSE, Fate.IGNORE}:
            self.deliver([packet] * (2 if fate is Fate.DOUBLE else 1))
        if held is not None:
            self.deliver([held])

    def deliver(self, packets: Iterable[Publish], *, retain: bool = False) -> None:
        """Send messages to their subscribers as they are."""
        for packet in packets:
            for server in self._relayed.values():
                if any(aiomqtt.Topic(packet.topic).matches(each) for each in server.filters):
                    self._send(server, packet._replace(retain=retain))

    def _send(self, server: RelayServer, packet: Publish) -> None:
        if packet.qos:
            server.publish(packet.topic, packet.payload, packet.qos)
        else:
            server.send(packet)
        for connection in self.connections:
            if connection.server is server and connection.open:
                connection.flush()

    def drop(self, client_id: str) -> None:
        """Reset the connection of one client."""
        for connection in self.connections:
            if connection.server is self.server_of(client_id) and connection.open:
                connection.reset()
