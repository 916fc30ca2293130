"""``simulator fleet revoke`` and ``crl``: take certificates back, and tell brokers so."""

from __future__ import annotations

import os
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from random import Random
from typing import TYPE_CHECKING, Annotated

import typer

from simulator.cli.fleet_terms import FleetPath, duration, revoked_when, so_many
from simulator.errors import UsageError
from simulator.identity import passphrase, pem
from simulator.identity.record import Reason, Status
from simulator.identity.store import FleetStore
from simulator.scenario.units import parse_share

if TYPE_CHECKING:
    from simulator.identity.record import DeviceRecord

__all__ = ["crl", "revoke"]


def revoke(
    path: FleetPath,
    devices: Annotated[
        list[str] | None, typer.Argument(metavar="DEVICE…", help="The devices.", show_default=False)
    ] = None,
    *,
    generation: Annotated[
        int | None, typer.Option(min=1, help="Which certificate.", show_default="the active one")
    ] = None,
    reason: Annotated[
        Reason, typer.Option(case_sensitive=False, help="Why, as RFC 5280 calls it.")
    ] = Reason.UNSPECIFIED,
    share: Annotated[
        str | None, typer.Option(help="Revoke this share of the active ones, by chance: 5%.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of that chance.")] = 1,
) -> None:
    """Revoke certificates for good; brokers learn of it by a revocation list (fleet crl)."""
    if (share is None) == (not devices):
        raise UsageError("name the devices to revoke, or a --share of the fleet: one of the two")
    if share is not None and generation is not None:
        raise UsageError("--share draws among the active certificates: leave out --generation")
    with FleetStore.open(path) as store:
        chosen = devices or _drawn(store.names(), share or "", seed)
        revoked = store.revoke_many(chosen, generation=generation, reason=reason)
        before = set(chosen).difference(revoked)
        for record in store.devices(Status.REVOKED):
            if record.device in before and generation in {None, record.generation}:
                typer.echo(f"{_certificate(record)} was revoked already, {revoked_when(record)}")
    typer.echo(f"revoked {so_many(len(revoked))} of {path}")


def crl(
    path: FleetPath,
    out: Annotated[
        Path | None, typer.Option(help="File to write, in place of an older one.", show_default="stdout")
    ] = None,
    valid: Annotated[str, typer.Option(help="How long the lists hold: 7d, 12h.")] = "7d",
) -> None:
    """Sign new revocation lists (CRL, PEM): of the issuing authority, and of the root for whole chains."""
    lasting = duration(valid, "--valid")
    with FleetStore.open(path, passphrase.given) as store:
        text = pem.revocation_lists(store.revocation_lists(lasting))
        revoked = store.summary().certificates[Status.REVOKED]
    if out is None:
        typer.echo(text, nl=False)
    else:
        _replace(out, text)
        typer.echo(f"wrote {out}: {so_many(revoked, 'certificate')} revoked, to be renewed within {valid}")


def _drawn(names: list[str], share: str, seed: int) -> list[str]:
    try:
        number = round(len(names) * parse_share(share if share.endswith("%") else float(share)))
    except ValueError as error:
        raise UsageError(f"--share: {error}") from None
    return Random(seed).sample(names, number)


def _replace(path: Path, text: str) -> None:
    """Write a file at once: whoever reads it meanwhile has the old or the new one, never a part."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        new.write_text(text)
        new.replace(path)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from None


def _certificate(record: DeviceRecord) -> str:
    return f"generation {record.generation} of {record.device}"
