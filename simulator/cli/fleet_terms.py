"""What the commands of ``simulator fleet`` share: the file they work on, and how they read and say things."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulator.clock import MICROSECOND
from simulator.errors import UsageError
from simulator.scenario.units import parse_duration

if TYPE_CHECKING:
    from datetime import datetime

    from simulator.identity.record import DeviceRecord

__all__ = ["FleetPath", "duration", "moment", "revoked_when", "so_many"]

# Evaluated here, where ruff cannot take its imports for annotations only: typer reads it.
FleetPath = Annotated[Path, typer.Argument(metavar="FLEET", help="The fleet file, such as core2.fleet.")]


def duration(text: str, option: str) -> timedelta:
    """Read a duration that was given with an option; raise UsageError where it is none."""
    try:
        return timedelta(microseconds=parse_duration(text) / MICROSECOND)
    except (ValueError, OverflowError) as error:
        raise UsageError(f"{option}: {error}") from None


def so_many(number: int, what: str = "device") -> str:
    """Return a number of things in words."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def revoked_when(record: DeviceRecord) -> str:
    """Return when and why a certificate was revoked; nothing where it was not."""
    found = record.revocation
    return "" if found is None else f"{moment(found.at)} ({found.reason})"


def moment(at: datetime) -> str:
    """Return a moment as a machine can sort it, in UTC."""
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"
