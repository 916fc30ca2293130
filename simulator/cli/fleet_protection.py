"""``simulator fleet protect`` and ``unprotect``: the passphrase that seals the keys of a fleet file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from simulator.cli.fleet_terms import FleetPath  # noqa: TC001 - typer reads the annotations
from simulator.identity import passphrase
from simulator.identity.store import FleetStore

if TYPE_CHECKING:
    from pathlib import Path

    from simulator.identity.authority import Authority

__all__ = ["Protect", "new_store", "protect", "unprotect"]

Protect = Annotated[
    bool,
    typer.Option(
        "--passphrase",
        help=f"Seal the keys with a passphrase: asked for, or taken from {passphrase.VARIABLE}.",
    ),
]


def protect(path: FleetPath) -> None:
    """Seal the private keys of a fleet file with a passphrase, or with another one."""
    with FleetStore.open(path, passphrase.given) as store:
        variable = passphrase.NEW_VARIABLE if store.is_protected else passphrase.VARIABLE
        store.unlock()
        store.protect(passphrase.chosen(path, variable))
    typer.echo(f"the keys in {path} are sealed; without the passphrase they are lost")


def unprotect(path: FleetPath) -> None:
    """Take the passphrase off a fleet file."""
    with FleetStore.open(path, passphrase.given) as store:
        store.unprotect()
    typer.echo(f"the keys in {path} are for whoever can read the file")


def new_store(path: Path, authority: Authority | None, *, protect: bool) -> FleetStore:
    """Make a fleet file; it is protected where that is asked for, or a passphrase is in the environment."""
    secret = passphrase.chosen(path) if protect else passphrase.in_environment()
    return FleetStore.create(path, authority, passphrase=secret)
