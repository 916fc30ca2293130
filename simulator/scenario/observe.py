"""The run's own side of the broker: the ``[observe]`` and ``[cloud]`` tables. Values only."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from simulator.scenario.fields import Filter, FleetName, Qos
from simulator.scenario.table import Mistake, Table

__all__ = ["Cloud", "Observe"]


class Observe(Table):
    """An observer subscribes to what devices publish, and holds it against what they have sent."""

    fleets: tuple[FleetName, ...] = Field((), examples=[["core2"]])
    """Fleets whose telemetry is observed; without any, all that have telemetry."""

    topics: tuple[Filter, ...] = Field((), examples=[["fleet/+/telemetry"]])
    """Topic filters to subscribe to, + and # allowed; without any, those of the fleets' telemetry."""

    qos: Qos | None = None
    """Quality of service asked for; without it, the highest that the observed fleets publish with."""


class Cloud(Table):
    """Who the run itself is to the broker, as observer and as sender of commands.

    Without a certificate of its own it gets one from the authority of a fleet. Where none has an authority,
    a broker that the run starts is told to trust one made for the purpose.
    """

    client_id: Annotated[str | None, Field(min_length=1)] = None
    """Client identifier; without it, a new one for each run, which is the certificate's common name too."""

    certificate: Annotated[str | None, Field(min_length=1)] = None
    """PEM file with its certificate, then the intermediates, relative to the scenario."""

    key: Annotated[str | None, Field(min_length=1)] = None
    """PEM file with its private key, not encrypted, relative to the scenario."""

    def mistakes(self) -> Iterator[Mistake]:
        """Yield a certificate without its key, or the other way round."""
        if self.certificate is not None and self.key is None:
            yield Mistake(("certificate",), 'needs key = "….key" beside it')
        if self.key is not None and self.certificate is None:
            yield Mistake(("key",), 'needs certificate = "….pem" beside it')
