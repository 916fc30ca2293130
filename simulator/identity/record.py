"""What a fleet tells about its credentials without showing a key: one record each, and a summary of all."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["DeviceRecord", "Status", "Summary"]


class Status(StrEnum):
    """Where a credential is in its life; a device has one active credential at most."""

    ACTIVE = "active"
    SUPERSEDED = "superseded"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class DeviceRecord:
    """One credential of one device; ``generation`` counts the device's certificates from 1."""

    device: str
    generation: int
    status: Status
    serial_number: int
    fingerprint: str
    not_before: datetime
    not_after: datetime


@dataclass(frozen=True, slots=True)
class Summary:
    """A fleet in a few numbers.

    ``certificates`` counts them by status; ``expired`` and the first and last ``not_after`` are of the active
    ones, and ``None`` where there are none. ``authority`` is the name of the one the fleet can issue with.
    """

    authority: str | None
    trust_anchors: int
    devices: int
    certificates: dict[Status, int]
    expired: int
    first_expiry: datetime | None
    last_expiry: datetime | None
