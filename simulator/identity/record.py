"""What a fleet tells about its credentials without showing a key: one record each, and a summary of all."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["DeviceRecord", "Reason", "Revocation", "Status", "Summary"]


class Status(StrEnum):
    """Where a credential is in its life; a device has one active credential at most."""

    ACTIVE = "active"
    SUPERSEDED = "superseded"
    REVOKED = "revoked"


class Reason(StrEnum):
    """Why a certificate is revoked, by the names of RFC 5280 section 5.3.1.

    Without ``certificateHold`` and ``removeFromCRL``: what is revoked here stays revoked.
    """

    UNSPECIFIED = "unspecified"
    KEY_COMPROMISE = "keyCompromise"
    CA_COMPROMISE = "cACompromise"
    AFFILIATION_CHANGED = "affiliationChanged"
    SUPERSEDED = "superseded"
    CESSATION_OF_OPERATION = "cessationOfOperation"
    PRIVILEGE_WITHDRAWN = "privilegeWithdrawn"
    AA_COMPROMISE = "aACompromise"


@dataclass(frozen=True, slots=True)
class Revocation:
    """When a certificate was revoked, in UTC, and why."""

    at: datetime
    reason: Reason


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
    revocation: Revocation | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """A fleet in a few numbers.

    ``certificates`` counts them by status, ``reasons`` the revoked ones by reason; ``expired``,
    ``self_signed`` and the first and last ``not_after`` are of the active ones, and ``None`` where there are
    none. ``authority`` is the name of the one the fleet can issue with; ``protected`` tells whether the
    private keys are sealed with a passphrase.
    """

    authority: str | None
    protected: bool
    self_signed: int
    trust_anchors: int
    devices: int
    certificates: dict[Status, int]
    reasons: dict[Reason, int]
    expired: int
    first_expiry: datetime | None
    last_expiry: datetime | None
