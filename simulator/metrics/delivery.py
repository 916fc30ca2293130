"""What became of messages on their way through the broker, from one end to the other. Values only."""

from __future__ import annotations

from dataclasses import asdict, astuple, dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from simulator.metrics.sample import Phase

__all__ = ["DeliveryCounts", "DeliveryKey", "DeviceDelivery", "Hearing"]


class DeliveryKey(NamedTuple):
    """Deliveries are kept apart by fleet, by way, and by the quality of service they were sent with."""

    fleet: str
    phase: Phase
    qos: int


@dataclass(slots=True)
class DeliveryCounts:
    """Messages by their fate. Once a run is over, ``sent`` is the sum of the next four."""

    sent: int = 0
    """Given to the broker, or at least to the socket."""
    delivered: int = 0
    """Heard at the other end, each once."""
    lost: int = 0
    """Never heard, though acknowledged by the broker, or sent with QoS 0."""
    unconfirmed: int = 0
    """Never heard, nor acknowledged: nobody can know whether the broker had them."""
    unobserved: int = 0
    """Never heard, and the observer was away at the time, or the run was stopped before it could tell."""
    duplicated: int = 0
    """Heard once more after the first time."""
    reordered: int = 0
    """Heard for the first time after one with a higher number (RFC 4737, 3.3)."""

    def __bool__(self) -> bool:
        return any(astuple(self))

    def add(self, other: DeliveryCounts) -> None:
        """Add the counts of ``other``."""
        self.sent += other.sent
        self.delivered += other.delivered
        self.lost += other.lost
        self.unconfirmed += other.unconfirmed
        self.unobserved += other.unobserved
        self.duplicated += other.duplicated
        self.reordered += other.reordered

    def drain(self) -> DeliveryCounts:
        """Return what was counted since the last time, and begin anew."""
        taken = replace(self)
        for name in _NAMES:
            setattr(self, name, 0)
        return taken

    @property
    def settled(self) -> bool:
        """Whether the fate of each message is known, as far as it can be."""
        return self.sent == self.delivered + self.lost + self.unconfirmed + self.unobserved

    @property
    def flawless(self) -> bool:
        """Whether each message was delivered once and in order."""
        return self.delivered == self.sent and not self.duplicated and not self.reordered


_NAMES = tuple(asdict(DeliveryCounts()))


class DeviceDelivery(NamedTuple):
    """What became of the messages of one device, or to one device, with one quality of service.

    ``mean`` and ``max`` are microseconds from when a message was due to when it was first heard.
    """

    device: str
    key: DeliveryKey
    counts: DeliveryCounts
    mean: int
    max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Hearing:
    """How the observer itself fared: what it says of the broker is worth no more than this."""

    messages: int
    """Heard in all, also those that count for nothing."""
    retained: int
    """Kept by the broker from before the run; not counted."""
    strangers: int
    """Not sent by any device of this run; not counted."""
    spent: int
    """Nanoseconds of processor time that hearing took, from reading to acknowledging."""
    breaks: int
    """How often its connection broke."""
    away: int
    """Nanoseconds without a connection."""
    lag_p50: int
    """Microseconds that what had come from the broker waited to be read; so are the next two."""
    lag_p99: int
    lag_max: int
