"""What the commands of ``simulator cluster`` share: how addresses and folders are written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulator.errors import UsageError
from simulator.scenario.endpoint import parse_endpoint

if TYPE_CHECKING:
    from simulator.scenario.kinds import Endpoint

__all__ = ["SCHEDULER_PORT", "CertificatesFolder", "endpoint", "scheduler_address"]

SCHEDULER_PORT = 8786
"""Dask's own."""

# Evaluated here, where ruff cannot take its imports for annotations only: typer reads it.
CertificatesFolder = Annotated[
    Path,
    typer.Option(
        "--certificates",
        metavar="FOLDER",
        help="Folder of this role, made by: simulator cluster certificates.",
        show_default=False,
    ),
]


def endpoint(text: str, option: str, port: int) -> Endpoint:
    """Read HOST[:PORT]; raise UsageError where it is none."""
    try:
        return parse_endpoint(text, f"127.0.0.1:{SCHEDULER_PORT}", port)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from None


def scheduler_address(text: str, option: str) -> str:
    """Read the address of a scheduler, tls://HOST[:PORT]; raise UsageError where it is none."""
    scheme, separator, where = text.rpartition("://")
    if separator and scheme != "tls":
        raise UsageError(f"{option}: a cluster speaks TLS only: tls://{where}, not {text}")
    return f"tls://{endpoint(where, option, SCHEDULER_PORT)}"
