"""``simulator fleet``: make, show, bring in, hand out, revoke and protect the credentials of a fleet."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from simulator.cli.app import INTERRUPTED
from simulator.cli.fleet_protection import Protect, new_store, protect, unprotect
from simulator.cli.fleet_revocation import crl, revoke
from simulator.cli.fleet_terms import FleetPath, duration, moment, revoked_when, so_many
from simulator.errors import UsageError
from simulator.identity import passphrase
from simulator.identity.authority import Authority
from simulator.identity.pem_export import export_folder
from simulator.identity.pem_import import NameFrom, import_folder
from simulator.identity.record import Status
from simulator.identity.store import FleetStore
from simulator.scenario.kinds import KeyKind

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from simulator.identity.record import DeviceRecord, Reason, Summary

__all__ = ["app"]

_HEADER = ("DEVICE", "GEN", "STATUS", "NOT AFTER", "FINGERPRINT", "REVOKED")
_ROW = "{:<20} {:>3}  {:<10}  {:<20}  {:<64}  {}"
_ROW_OF_TERMINAL = "{:<20} {:>3}  {:<10}  {:<20}  {:<15.15}  {}"

app = typer.Typer(help="Make and manage the certificates of a fleet.", no_args_is_help=True)

# Evaluated here, where ruff cannot take its imports for annotations only: typer reads it.
OnlyStatus = Annotated[Status | None, typer.Option(help="Only certificates of this status.")]


@app.command()
def create(
    path: FleetPath,
    *,
    devices: Annotated[int, typer.Option(min=1, help="How many devices to issue a certificate for.")],
    key: Annotated[KeyKind, typer.Option(help="Kind of the private keys.")] = KeyKind.EC_P256,
    validity: Annotated[str, typer.Option(help="How long certificates last: 365d, 12h, 30s.")] = "365d",
    prefix: Annotated[str, typer.Option(help="Devices are called PREFIX00001 and on.")] = "device-",
    authority_name: Annotated[
        str | None, typer.Option(help="Name of the new authority; by default that of the file.")
    ] = None,
    authority_key: Annotated[
        KeyKind | None, typer.Option(help="Kind of the new authority's keys; by default ec-p256.")
    ] = None,
    self_signed: Annotated[
        bool, typer.Option("--self-signed", help="No authority: each certificate vouches for itself.")
    ] = False,
    protect: Protect = False,
    add: Annotated[bool, typer.Option("--add", help="Add to a fleet file that exists.")] = False,
) -> None:
    """Issue a fleet: an authority, and a certificate and private key for each device."""
    lasting = duration(validity, "--validity")
    if (add or self_signed) and (authority_name or authority_key):
        raise UsageError(
            "a new authority is neither for --add nor for --self-signed: leave out the --authority options"
        )
    if add and protect:
        raise UsageError("--passphrase is for a new fleet file; `simulator fleet protect` changes one")
    if add:
        store = FleetStore.open(path, passphrase.given)
    else:
        kind = authority_key or KeyKind.EC_P256
        authority = None if self_signed else Authority.create(authority_name or path.stem, key=kind)
        store = new_store(path, authority, protect=protect)
    with store:
        before = store.summary().devices
        try:
            _issue(store, devices, key, lasting, prefix, self_signed=self_signed)
        except KeyboardInterrupt:
            kept = store.summary().devices - before
            typer.echo(f"interrupted: {path} keeps {kept} of {so_many(devices)}; --add issues more", err=True)
            raise typer.Exit(INTERRUPTED) from None
        typer.echo(f"issued {so_many(devices)} into {path}, which now holds {before + devices}")


@app.command()
def show(path: FleetPath) -> None:
    """Show a fleet in a few lines."""
    with FleetStore.open(path) as store:
        summary = store.summary()
    _line("authority", summary.authority or _without_authority(summary))
    _line("keys", "sealed with a passphrase" if summary.protected else "not protected by a passphrase")
    _line("trust anchors", summary.trust_anchors)
    _line("devices", summary.devices)
    _line("certificates", _counts(summary.certificates))
    if summary.reasons:
        _line("revoked", _counts(summary.reasons))
    if summary.first_expiry is not None and summary.last_expiry is not None:
        _line("expired", summary.expired)
        _line("expiry", f"{moment(summary.first_expiry)} to {moment(summary.last_expiry)}")


@app.command("list")
def list_devices(
    path: FleetPath,
    status: OnlyStatus = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Print the first so many.")] = None,
) -> None:
    """List the certificates of a fleet, never the keys.

    A terminal gets as much of each line as it has room for, a file or a pipe the whole of it.
    """
    console = Console()
    width = console.width if console.is_terminal else None
    with FleetStore.open(path) as store:
        if not as_json:
            typer.echo(_row(_HEADER, width))
        for record in store.devices(status, limit):
            typer.echo(_json(record) if as_json else _row(_cells(record), width))


@app.command()
def export(
    path: FleetPath,
    folder: Annotated[Path, typer.Argument(help="A new or empty folder.")],
    devices: Annotated[int | None, typer.Option(min=1, help="Export the first so many.")] = None,
    device: Annotated[list[str] | None, typer.Option(help="Export this device. Repeatable.")] = None,
) -> None:
    """Write a fleet as a folder of PEM files: FOLDER/DEVICE/certificate.pem, key.pem and FOLDER/ca.pem."""
    if devices is not None and device:
        raise UsageError("--devices exports the first so many and --device those named: choose one of them")
    with FleetStore.open(path, passphrase.given) as store:
        named = [(name, store.credential(name)) for name in device or ()]
        count = export_folder(folder, named or store.credentials(devices), store.trust_anchors)
    typer.echo(f"exported {so_many(count)} to {folder}; the key.pem files are secret")


@app.command("import")
def import_pem(
    folder: Annotated[Path, typer.Argument(help="A folder of PEM files, from any authority.")],
    path: FleetPath,
    names: Annotated[
        NameFrom, typer.Option(help="Name devices by folder or file, or by the common name.")
    ] = NameFrom.FILE,
    protect: Protect = False,
) -> None:
    """Make a fleet of certificates that exist: a folder for each device, or NAME.crt beside NAME.key."""
    imported = import_folder(folder, names=names)
    for warning in imported.warnings:
        typer.echo(f"warning: {warning}", err=True)
    with new_store(path, None, protect=protect) as store:
        store.add_many(imported.credentials)
        for root in imported.trust_anchors:
            store.add_trust_anchor(root)
    typer.echo(f"imported {so_many(len(imported.credentials))} into {path}")


def _issue(
    store: FleetStore, devices: int, key: KeyKind, validity: timedelta, prefix: str, *, self_signed: bool
) -> None:
    console = Console(stderr=True)
    columns = (TextColumn("issuing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # Without a thread that draws: Ctrl-C in the middle of its lock would leave it, and us, waiting for ever.
    with Progress(*columns, console=console, disable=not console.is_interactive, auto_refresh=False) as bar:
        task = bar.add_task("issuing", total=devices)
        store.issue(
            devices,
            key=key,
            validity=validity,
            prefix=prefix,
            progress=lambda kept: bar.update(task, completed=kept, refresh=True),
            self_signed=self_signed,
        )


def _without_authority(summary: Summary) -> str:
    return "none: certificates are self-signed" if summary.self_signed else "none: this fleet was imported"


def _counts(numbers: Mapping[Status, int] | Mapping[Reason, int]) -> str:
    return ", ".join(f"{count} {what}" for what, count in numbers.items())


def _cells(record: DeviceRecord) -> tuple[object, ...]:
    return (
        record.device,
        record.generation,
        record.status,
        moment(record.not_after),
        record.fingerprint,
        revoked_when(record),
    )


def _row(cells: tuple[object, ...], width: int | None) -> str:
    """Return a line of the list, cut to a width where there is one."""
    line = (_ROW if width is None else _ROW_OF_TERMINAL).format(*cells).rstrip()
    return line if width is None or len(line) <= width else f"{line[: width - 1]}…"


def _json(record: DeviceRecord) -> str:
    revocation = record.revocation
    values = asdict(record) | {
        "serial_number": f"{record.serial_number:x}",
        "not_before": moment(record.not_before),
        "not_after": moment(record.not_after),
        "revocation": revocation and {"at": moment(revocation.at), "reason": revocation.reason},
    }
    return json.dumps(values, ensure_ascii=False)


def _line(what: str, value: object) -> None:
    typer.echo(f"{what:<14} {value}")


for verb in (revoke, crl, protect, unprotect):
    app.command()(verb)
