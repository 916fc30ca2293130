"""What one shard measured in one interval, and the sum of many such: what shards send regularly."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from simulator.metrics.delivery import DeliveryCounts, DeliveryKey
from simulator.metrics.histogram import Histogram
from simulator.metrics.outcome import NO_FAILURES, Outcome
from simulator.metrics.sample import CONNECT_STEPS, HEARD, Kind, Phase

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = [
    "ArrivalCounts",
    "ArrivalKey",
    "ArrivalOf",
    "ResumptionCounts",
    "SeriesInterval",
    "SeriesKey",
    "Snapshot",
    "Totals",
]


class ArrivalOf(StrEnum):
    """What an arrival process makes due."""

    CONNECT = "connect"
    MESSAGE = "message"
    COMMAND = "command"


@dataclass(slots=True)
class ArrivalCounts:
    """What became of arrivals; an arrival that is not started yet is in ``due`` only."""

    due: int = 0
    started: int = 0
    dropped: int = 0
    """Over the in-flight cap: counted, never delayed."""
    offline: int = 0
    """Due while its device had no connection to send it on."""
    retries: int = 0
    """Of ``due``, those that no stage asked for: connects of a device that failed or was cut off before."""

    def __bool__(self) -> bool:
        return bool(self.due or self.started or self.dropped or self.offline)

    def add(self, other: ArrivalCounts) -> None:
        """Add the counts of ``other``."""
        self.due += other.due
        self.started += other.started
        self.dropped += other.dropped
        self.offline += other.offline
        self.retries += other.retries


@dataclass(slots=True)
class ResumptionCounts:
    """What became of the TLS sessions of a fleet that resumes them; how many it did is in their series."""

    reconnects: int = 0
    """Handshakes that were completed by devices which had completed one before."""
    refused: int = 0
    """Offers of a session that the broker answered with a full handshake."""
    full_cpu: int = 0
    """Nanoseconds of CPU that the full handshakes took in the generator."""
    resumed_cpu: int = 0
    """The same of those that resumed."""

    def __bool__(self) -> bool:
        return bool(self.reconnects or self.full_cpu or self.resumed_cpu)

    def count(self, *, again: bool, offered: bool, resumed: bool, cpu: int) -> None:
        """Count one handshake that was completed, ``again`` where it was not the device's first."""
        self.reconnects += again
        self.refused += offered and not resumed
        if resumed:
            self.resumed_cpu += cpu
        else:
            self.full_cpu += cpu

    def add(self, other: ResumptionCounts) -> None:
        """Add the counts of ``other``."""
        self.reconnects += other.reconnects
        self.refused += other.refused
        self.full_cpu += other.full_cpu
        self.resumed_cpu += other.resumed_cpu


class SeriesKey(NamedTuple):
    """Samples are kept apart by fleet and phase."""

    fleet: str
    phase: Phase


class ArrivalKey(NamedTuple):
    """Arrivals are kept apart by fleet and by what is due."""

    fleet: str
    of: ArrivalOf


@dataclass(slots=True)
class SeriesInterval:
    """What one series measured: durations of the steps that succeeded, and how many ended in which way."""

    outcomes: Counter[str] = field(default_factory=Counter)
    response: Histogram = field(default_factory=Histogram)
    service: Histogram = field(default_factory=Histogram)
    lag: Histogram = field(default_factory=Histogram)

    def add(self, other: SeriesInterval) -> None:
        """Add counts and histograms of ``other``."""
        self.outcomes.update(other.outcomes)
        for kind in Kind:
            self.histogram(kind).add(other.histogram(kind))

    def histogram(self, kind: Kind) -> Histogram:
        """Return the histogram of that kind of time, microseconds."""
        match kind:
            case Kind.RESPONSE:
                return self.response
            case Kind.SERVICE:
                return self.service
        return self.lag


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One shard's interval. It pickles, and is complete in itself: adding all of them gives the run."""

    shard: int
    stage: str
    """Name of the stage that the interval belongs to; empty after the last one."""
    start: int
    """Nanoseconds since the start of the run; so is ``end``."""
    end: int
    series: Mapping[SeriesKey, SeriesInterval]
    arrivals: Mapping[ArrivalKey, ArrivalCounts]
    devices: Mapping[str, Mapping[str, int]]
    """Fleet to state to devices in it at ``end``; the states of a fleet add up to all its devices."""
    cpu: int
    """Nanoseconds of processor time, user and system, that the shard's process used in the interval."""
    rss: int
    """Bytes resident at ``end``."""
    resumptions: Mapping[str, ResumptionCounts] = field(default_factory=dict)
    """By fleet; of those that resume their TLS sessions only."""
    deliveries: Mapping[DeliveryKey, DeliveryCounts] = field(default_factory=dict)
    """Of the observer alone, whose snapshots have no devices."""


class Totals:
    """The sum of snapshots. Histograms are added; percentiles are never averaged."""

    def __init__(self) -> None:
        self._series: dict[SeriesKey, SeriesInterval] = {}
        self._arrivals: dict[ArrivalKey, ArrivalCounts] = {}
        self._devices: dict[int, Mapping[str, Mapping[str, int]]] = {}
        self._resumptions: dict[str, ResumptionCounts] = {}
        self._deliveries: dict[DeliveryKey, DeliveryCounts] = {}

    def add(self, snapshot: Snapshot) -> None:
        """Add one interval of one shard."""
        for key, interval in snapshot.series.items():
            self.series(key).add(interval)
        for arrival, counts in snapshot.arrivals.items():
            self._arrivals.setdefault(arrival, ArrivalCounts()).add(counts)
        for fleet, resumptions in snapshot.resumptions.items():
            self._resumptions.setdefault(fleet, ResumptionCounts()).add(resumptions)
        for delivery, fates in snapshot.deliveries.items():
            self._deliveries.setdefault(delivery, DeliveryCounts()).add(fates)
        self._devices[snapshot.shard] = snapshot.devices

    def series(self, key: SeriesKey) -> SeriesInterval:
        """Return the sums of one series, to which more may be added."""
        return self._series.setdefault(key, SeriesInterval())

    @property
    def fleets(self) -> list[str]:
        """The fleets that measured something or have devices, sorted."""
        named = {key.fleet for key in self._series} | {key.fleet for key in self._arrivals}
        return sorted(named.union(*self._devices.values()))

    def phases(self, fleet: str) -> list[Phase]:
        """Return the phases that occurred in a fleet, in the order of a device's life."""
        return [phase for phase in Phase if (fleet, phase) in self._series]

    def histogram(self, kind: Kind, *, fleet: str | None = None, phase: Phase | None = None) -> Histogram:
        """Return the sum of the histograms of a fleet (of all) and a phase (of all)."""
        whole = Histogram()
        for _, series in self._select(fleet, phase):
            whole.add(series.histogram(kind))
        return whole

    def outcomes(self, *, fleet: str | None = None, phase: Phase | None = None) -> Counter[str]:
        """Return how many steps ended in which way; over all phases, a connect counts as one."""
        counts: Counter[str] = Counter()
        for key, series in self._select(fleet, phase):
            if phase is not None or key.phase not in CONNECT_STEPS | HEARD:
                counts.update(series.outcomes)
        return counts

    def failures(self, *, fleet: str | None = None, phase: Phase | None = None) -> int:
        """Return how many ended badly."""
        outcomes = self.outcomes(fleet=fleet, phase=phase)
        return outcomes.total() - sum(outcomes[each] for each in NO_FAILURES)

    def attempts(self, *, fleet: str | None = None, phase: Phase | None = None) -> int:
        """Return of how many ``failures`` is a part; sessions are out of the connects that succeeded.

        A handshake that fails does so as a full one, whatever was offered, so all are counted there.
        """
        if phase is Phase.SESSION:
            return self.outcomes(fleet=fleet, phase=Phase.CONNECT)[Outcome.OK]
        if phase is Phase.TLS_HANDSHAKE:
            phases = (phase, Phase.TLS_RESUMPTION)
            return sum(self.outcomes(fleet=fleet, phase=each).total() for each in phases)
        lost = self.outcomes(fleet=fleet, phase=Phase.SESSION).total() if phase is None else 0
        return self.outcomes(fleet=fleet, phase=phase).total() - lost

    def arrivals(self, *, fleet: str | None = None, of: ArrivalOf | None = None) -> ArrivalCounts:
        """Return the sum of the arrivals of a fleet (of all) and of connects or messages (of both)."""
        whole = ArrivalCounts()
        for key, counts in self._arrivals.items():
            if fleet in (None, key.fleet) and of in (None, key.of):
                whole.add(counts)
        return whole

    def resumptions(self, fleet: str) -> ResumptionCounts | None:
        """Return what became of a fleet's TLS sessions; None where it does not resume them."""
        return self._resumptions.get(fleet)

    @property
    def delivery_keys(self) -> list[DeliveryKey]:
        """The ways on which messages were observed, sorted by fleet and in the order of a device's life."""
        order = list(Phase)
        return sorted(self._deliveries, key=lambda key: (key.fleet, order.index(key.phase), key.qos))

    def deliveries(
        self, *, fleet: str | None = None, phase: Phase | None = None, qos: int | None = None
    ) -> DeliveryCounts:
        """Return the sum of the deliveries of a fleet, a phase and a quality of service (of all)."""
        whole = DeliveryCounts()
        for key, counts in self._deliveries.items():
            if fleet in (None, key.fleet) and phase in (None, key.phase) and qos in (None, key.qos):
                whole.add(counts)
        return whole

    @property
    def devices(self) -> dict[str, Counter[str]]:
        """How many devices of each fleet were in each state, by the last snapshot of every shard."""
        whole: dict[str, Counter[str]] = {}
        for fleets in self._devices.values():
            for fleet, states in fleets.items():
                whole.setdefault(fleet, Counter()).update(states)
        return whole

    def _select(self, fleet: str | None, phase: Phase | None) -> Iterator[tuple[SeriesKey, SeriesInterval]]:
        for key, series in self._series.items():
            if fleet in (None, key.fleet) and phase in (None, key.phase):
                yield key, series
