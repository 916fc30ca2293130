"""Where the broker of a run comes from: the ``[broker]`` table. Values only; nothing is started here."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from simulator.scenario.fields import Count, EndpointText, Flag, Port, Text
from simulator.scenario.kinds import BrokerKind
from simulator.scenario.table import Mistake, Table
from simulator.scenario.wording import quote

__all__ = ["Broker"]

_OF_MANAGED = ("host", "port", "count")
LAST_PORT = 65_535

_OF_EXTERNAL = ("endpoints", "authorised", "trust", "server_name")


class Broker(Table):
    """The broker that the fleets connect to."""

    kind: BrokerKind = BrokerKind.EMBEDDED
    """``embedded`` and ``mosquitto`` are started and stopped by the run; ``external`` runs somewhere else."""

    host: Text = "127.0.0.1"
    """Address that a broker started by the run listens on."""

    port: Port = 0
    """Port that a broker started by the run listens on; 0 takes a free one."""

    count: Count = 1
    """How many mosquittos the run starts, over which it spreads the devices evenly, for one drives one core.

    Each listens on a port of its own: ``port`` and those that follow, or free ones. They share nothing but
    their authority: a device keeps to its own, and what it publishes is heard there only.
    """

    endpoints: tuple[EndpointText, ...] = Field((), examples=[["broker.example:8883"]])
    """Where an external broker listens: ``host:port`` or ``[address]:port``, port 8883 unless said."""

    authorised: Flag = False
    """Whether the operator of an external broker lets you load it; needed for one at a public address.

    That is one that can be reached from anywhere: not loopback, link-local, private (RFC 1918, RFC 4193) or
    shared (RFC 6598).
    """

    trust: tuple[Text, ...] = ()
    """PEM files with the authorities that may vouch for an external broker, relative to the scenario.

    Without any, the authorities that this machine trusts.
    """

    server_name: Annotated[str | None, Field(min_length=1)] = None
    """Host name to expect in an external broker's certificate, where it differs from the endpoint's."""

    def mistakes(self) -> Iterator[Mistake]:
        """Yield settings that do not belong to this kind of broker."""
        external = self.kind is BrokerKind.EXTERNAL
        if self.kind is BrokerKind.EMBEDDED and self.count > 1:
            yield Mistake(("count",), 'there is one embedded broker; use kind = "mosquitto" for several')
        if self.port and self.port + self.count - 1 > LAST_PORT:
            yield Mistake(("port",), f"leaves no room for {self.count} brokers up to port {LAST_PORT}")
        strangers = _OF_MANAGED if external else _OF_EXTERNAL
        owner = 'a broker of kind "embedded" or "mosquitto"' if external else 'a broker of kind "external"'
        for key in strangers:
            if key in self.model_fields_set:
                yield Mistake((key,), f"belongs to {owner}, and this one is {quote(self.kind)}")
        if external and not self.endpoints:
            yield Mistake(("endpoints",), 'an external broker needs endpoints = ["host:8883"]')
