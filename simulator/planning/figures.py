"""A forecast as values, and as JSON; how they come about is not known here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pydantic import TypeAdapter

from simulator.planning.work import Kind  # noqa: TC001 - pydantic reads the annotations for its adapter

__all__ = ["FORECAST", "BrokerForecast", "Forecast", "Need", "Resource", "UnitCost", "WorkerForecast"]


class Resource(StrEnum):
    """What can run out."""

    GENERATOR = "generator_cpu"
    BROKER = "broker_cpu"
    CORES = "cores"
    MEMORY = "memory"
    DESCRIPTORS = "descriptors"
    PORTS = "ports"


@dataclass(frozen=True, slots=True)
class Need:
    """So much is needed of a resource, and this machine has so much of it; memory is bytes, CPU cores."""

    resource: Resource
    needed: float
    available: float

    @property
    def share(self) -> float:
        """How much of it is used up; above 1 it does not suffice."""
        return self.needed / self.available if self.available else float("inf")


@dataclass(frozen=True, slots=True)
class UnitCost:
    """What one piece of work costs, microseconds of CPU; ``broker`` is None where it was not measured."""

    kind: Kind
    fleet: str
    generator: float
    broker: float | None


@dataclass(frozen=True, slots=True)
class WorkerForecast:
    """The generator as so many workers; CPU and memory are those of each but for the total in seconds."""

    workers: int
    cpu_seconds: float
    """Of all together."""
    cpu_share: float
    cpu_share_peak: float
    busiest: str
    """The stage that the busiest second belongs to."""
    memory: int
    descriptors: int
    seconds: float
    """How long the stages take: longer than planned where there is more to do than can be done."""
    late: float
    """How many seconds the generator, or a broker on this machine, is behind at worst."""


@dataclass(frozen=True, slots=True)
class BrokerForecast:
    """The broker where the run starts it here: each of so many, and the CPU seconds of all together."""

    brokers: int
    cpu_seconds: float
    cpu_share_peak: float
    memory: int
    descriptors: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """All that a plan says. Where ``workers`` has several, the first is one worker alone."""

    scenario: str
    title: str
    changes: tuple[str, ...]
    seed: int
    devices: int
    connects: int
    messages: int
    seconds: float
    """Length of the stages as planned."""
    issuing_seconds: float
    """To make the certificates that are missing, before the run."""
    measured: str
    """What was measured, in words."""
    rough: bool
    """Whether this machine was too busy with other things for the measurement to be trusted."""
    external: bool
    """Whether the broker was not measured, since it is somebody else's."""
    workers: tuple[WorkerForecast, ...]
    workers_needed: int
    source_addresses: int
    """How many it needs; ``sources`` is how many the scenario's devices start from."""
    sources: int
    broker: BrokerForecast | None
    needs: tuple[Need, ...]
    """Of one worker on this machine, the scarcest first."""
    costs: tuple[UnitCost, ...]
    tls_floor: float
    """Microseconds of processor time that a full TLS handshake of the largest fleet takes by itself."""
    memory_base: int
    """Bytes without any device."""
    memory_device: int
    """Bytes for each device."""

    def to_json(self) -> str:
        """Return what ``--json`` prints."""
        return FORECAST.dump_json(self, indent=2).decode()


FORECAST = TypeAdapter(Forecast)
"""Writes a forecast as JSON."""
