"""The report of a run as values, and as ``report.json``. Durations of steps are in microseconds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - pydantic reads the annotations when it builds the adapter
from typing import Annotated

from pydantic import Field, TypeAdapter

from simulator.metrics.sample import Phase  # noqa: TC001 - as above
from simulator.metrics.snapshot import ArrivalOf  # noqa: TC001 - as above
from simulator.metrics.threshold import Status, Unit  # noqa: TC001 - as above
from simulator.report.conclusion import Conclusion  # noqa: TC001 - as above
from simulator.report.run import FORMAT

__all__ = [
    "REPORT",
    "ArrivalFigures",
    "Connected",
    "DeliveryFigures",
    "DeviceFigures",
    "Example",
    "FailureFigures",
    "FleetFigures",
    "Generator",
    "Observer",
    "PhaseFigures",
    "Rate",
    "Report",
    "ResumptionFigures",
    "ShardFigures",
    "StageFigures",
    "ThresholdFigures",
    "Times",
]


@dataclass(frozen=True, slots=True)
class Times:
    """What a histogram says, microseconds."""

    count: int
    p50: int
    p90: int
    p99: int
    p99_9: Annotated[int, Field(alias="p99.9")]
    max: int
    mean: float
    overflow: int = 0
    """How many were longer than a histogram can tell; they count as the longest that it can."""


@dataclass(frozen=True, slots=True)
class PhaseFigures:
    """One phase of one fleet: how its steps ended, and how long those that succeeded took."""

    phase: Phase
    outcomes: dict[str, int]
    response: Times | None
    service: Times | None


@dataclass(frozen=True, slots=True)
class ArrivalFigures:
    """What became of the connects or messages that were due.

    ``retries`` are those of ``due`` that no stage asked for: a device came back by itself.
    """

    of: ArrivalOf
    due: int
    started: int
    dropped: int
    offline: int
    retries: int


@dataclass(frozen=True, slots=True)
class ResumptionFigures:
    """What became of the TLS sessions of a fleet that resumes them.

    Of ``reconnects`` that completed a handshake, so many ``resumed``; so many offered a session that the
    broker ``refused``, and the rest had none to offer. CPU is microseconds a handshake, in the generator.
    """

    reconnects: int
    resumed: int
    refused: int
    full_cpu: float | None
    resumed_cpu: float | None


@dataclass(frozen=True, slots=True)
class DeliveryFigures:
    """What became of messages from one end to the other; once a run is over, ``sent`` is the next four's sum.

    ``unconfirmed`` were neither acknowledged nor heard; ``unobserved`` not heard while the observer was away,
    or before a run that was stopped had waited long enough.
    """

    phase: Phase
    qos: int
    sent: int
    delivered: int
    lost: int
    unconfirmed: int
    unobserved: int
    duplicated: int
    reordered: int


@dataclass(frozen=True, slots=True)
class DeviceFigures:
    """One device of whose messages some were not delivered once and in order.

    ``mean`` and ``max`` are microseconds from due to heard, of those that were.
    """

    fleet: str
    device: str
    deliveries: DeliveryFigures
    mean: int
    max: int


@dataclass(frozen=True, slots=True)
class FleetFigures:
    """One fleet; ``resumption`` is None where it does not resume TLS sessions."""

    fleet: str
    devices: int
    phases: tuple[PhaseFigures, ...]
    arrivals: tuple[ArrivalFigures, ...]
    resumption: ResumptionFigures | None
    deliveries: tuple[DeliveryFigures, ...] = ()


@dataclass(frozen=True, slots=True)
class ThresholdFigures:
    """One threshold and its verdict; ``measured`` is in ``unit``."""

    measure: str
    limit: str
    status: Status
    measured: float | None
    unit: Unit


@dataclass(frozen=True, slots=True)
class Connected:
    """Devices of a fleet that were connected, of how many."""

    connected: int
    devices: int


@dataclass(frozen=True, slots=True)
class Rate:
    """Arrivals that were due, and those that succeeded, per second."""

    due: float
    achieved: float


@dataclass(frozen=True, slots=True)
class StageFigures:
    """One stage; ``start`` and ``end`` are planned, in seconds since the start of the run.

    ``connected``, by fleet, is as of its end, or of when the run ended if that came first.
    """

    name: str
    start: float
    end: float
    reached_end: bool
    connected: dict[str, Connected]
    connects: Rate
    messages: Rate


@dataclass(frozen=True, slots=True)
class Example:
    """The first failure of its sort; ``at`` is seconds since the start of the run."""

    device: str
    at: float
    detail: str


@dataclass(frozen=True, slots=True)
class FailureFigures:
    """How often a step of a fleet failed in one way."""

    fleet: str
    phase: Phase
    outcome: str
    count: int
    meaning: str | None
    example: Example | None


@dataclass(frozen=True, slots=True)
class ShardFigures:
    """One shard: where it ran, what it used, and how late it was; ``lost`` is when, seconds, and why."""

    shard: int
    host: str
    devices: int
    cpu_seconds: float
    cpu_share: float
    cpu_share_peak: float
    memory_peak: int
    lag: Times | None
    lost: tuple[float, str] | None = None


@dataclass(frozen=True, slots=True)
class Generator:
    """The simulator itself: had it been the limit, the run would say little about the broker.

    Shares are of one core, of the busiest shard; ``memory_peak`` is bytes, over all shards. ``slowest`` is
    the shard with the greatest lag at the 99th percentile; None where only one was at work.
    """

    shards: tuple[ShardFigures, ...]
    slowest: int | None
    cpu_seconds: float
    cpu_share: float
    cpu_share_peak: float
    memory_peak: int
    lag: Times | None
    lag_limit: int


@dataclass(frozen=True, slots=True)
class Observer:
    """The run's own client at the broker: had it been late, delivery latencies would say little.

    ``cost`` is microseconds of processor time a message, lag is microseconds that something waited to be
    read, ``away`` is seconds without a connection.
    """

    messages: int
    retained: int
    strangers: int
    cost: float
    breaks: int
    away: float
    lag_p50: int
    lag_p99: int
    lag_max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that a run says."""

    format: int = FORMAT
    conclusion: Conclusion
    reason: str
    """The conclusion in a sentence."""
    exit_code: int
    title: str
    changes: tuple[str, ...] = ()
    """Options that changed the scenario after its title was written."""
    scenario: str
    seed: int
    started: datetime
    seconds: float
    broker: str
    endpoints: tuple[str, ...]
    thresholds: tuple[ThresholdFigures, ...]
    fleets: tuple[FleetFigures, ...]
    stages: tuple[StageFigures, ...]
    failures: tuple[FailureFigures, ...]
    flawed: tuple[DeviceFigures, ...] = ()
    """Devices with a flaw in what was observed of them, the worst first; ``deliveries.jsonl`` has all."""
    generator: Generator
    observer: Observer | None = None
    versions: dict[str, str]
    machine: dict[str, str]

    def to_json(self) -> str:
        """Return what ``report.json`` holds."""
        return REPORT.dump_json(self, indent=2, by_alias=True).decode() + "\n"


REPORT = TypeAdapter(Report)
"""Reads ``report.json``."""
