"""``simulator fleet``: make, show, bring in and hand out the credentials of a fleet."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from simulator.cli.app import INTERRUPTED
from simulator.clock import MICROSECOND
from simulator.errors import UsageError
from simulator.identity.authority import Authority
from simulator.identity.pem_export import export_folder
from simulator.identity.pem_import import NameFrom, import_folder
from simulator.identity.record import Status
from simulator.identity.store import FleetStore
from simulator.scenario.kinds import KeyKind
from simulator.scenario.units import parse_duration

if TYPE_CHECKING:
    from datetime import datetime

    from simulator.identity.record import DeviceRecord

__all__ = ["app"]

_ROW = "{:<24} {:>10}  {:<10}  {:<20}  {}"

app = typer.Typer(help="Make and manage the certificates of a fleet.", no_args_is_help=True)

# Aliases are evaluated here, where ruff cannot take their imports for annotations only: typer reads them.
FleetPath = Annotated[Path, typer.Argument(metavar="FLEET", help="The fleet file, such as core2.fleet.")]
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
    add: Annotated[bool, typer.Option("--add", help="Add to a fleet file that exists.")] = False,
) -> None:
    """Issue a fleet: an authority, and a certificate and private key for each device."""
    lasting = _validity(validity)
    if add and (authority_name or authority_key):
        raise UsageError(
            "--add issues with the authority that the fleet has: leave out the --authority options"
        )
    if add:
        store = FleetStore.open(path)
    else:
        authority = Authority.create(authority_name or path.stem, key=authority_key or KeyKind.EC_P256)
        store = FleetStore.create(path, authority)
    with store:
        before = store.summary().devices
        try:
            _issue(store, devices, key, lasting, prefix)
        except KeyboardInterrupt:
            kept = store.summary().devices - before
            typer.echo(f"interrupted: {path} keeps {kept} of {_count(devices)}; --add issues more", err=True)
            raise typer.Exit(INTERRUPTED) from None
        typer.echo(f"issued {_count(devices)} into {path}, which now holds {before + devices}")


@app.command()
def show(path: FleetPath) -> None:
    """Show a fleet in a few lines."""
    with FleetStore.open(path) as store:
        summary = store.summary()
    counts = ", ".join(f"{count} {status}" for status, count in summary.certificates.items())
    _line("authority", summary.authority or "none: this fleet was imported")
    _line("trust anchors", summary.trust_anchors)
    _line("devices", summary.devices)
    _line("certificates", counts)
    if summary.first_expiry is not None and summary.last_expiry is not None:
        _line("expired", summary.expired)
        _line("expiry", f"{_time(summary.first_expiry)} to {_time(summary.last_expiry)}")


@app.command("list")
def list_devices(
    path: FleetPath,
    status: OnlyStatus = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Print the first so many.")] = None,
) -> None:
    """List the certificates of a fleet, never the keys."""
    with FleetStore.open(path) as store:
        if not as_json:
            typer.echo(_ROW.format("DEVICE", "GENERATION", "STATUS", "NOT AFTER", "FINGERPRINT"))
        for record in store.devices(status, limit):
            typer.echo(_json(record) if as_json else _row(record))


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
    with FleetStore.open(path) as store:
        named = [(name, store.credential(name)) for name in device or ()]
        count = export_folder(folder, named or store.credentials(devices), store.trust_anchors)
    typer.echo(f"exported {_count(count)} to {folder}; the key.pem files are secret")


@app.command("import")
def import_pem(
    folder: Annotated[Path, typer.Argument(help="A folder of PEM files, from any authority.")],
    path: FleetPath,
    names: Annotated[
        NameFrom, typer.Option(help="Name devices by folder or file, or by the common name.")
    ] = NameFrom.FILE,
) -> None:
    """Make a fleet of certificates that exist: a folder for each device, or NAME.crt beside NAME.key."""
    imported = import_folder(folder, names=names)
    for warning in imported.warnings:
        typer.echo(f"warning: {warning}", err=True)
    with FleetStore.create(path) as store:
        store.add_many(imported.credentials)
        for root in imported.trust_anchors:
            store.add_trust_anchor(root)
    typer.echo(f"imported {_count(len(imported.credentials))} into {path}")


def _issue(store: FleetStore, devices: int, key: KeyKind, validity: timedelta, prefix: str) -> None:
    console = Console(stderr=True)
    columns = (TextColumn("issuing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_interactive) as bar:
        task = bar.add_task("issuing", total=devices)
        store.issue(
            devices,
            key=key,
            validity=validity,
            prefix=prefix,
            progress=lambda kept: bar.update(task, completed=kept),
        )


def _validity(text: str) -> timedelta:
    try:
        return timedelta(microseconds=parse_duration(text) / MICROSECOND)
    except (ValueError, OverflowError) as error:
        raise UsageError(f"--validity: {error}") from None


def _count(devices: int) -> str:
    return "1 device" if devices == 1 else f"{devices} devices"


def _row(record: DeviceRecord) -> str:
    return _ROW.format(
        record.device, record.generation, record.status, _time(record.not_after), record.fingerprint
    )


def _json(record: DeviceRecord) -> str:
    values = asdict(record) | {
        "serial_number": f"{record.serial_number:x}",
        "not_before": _time(record.not_before),
        "not_after": _time(record.not_after),
    }
    return json.dumps(values, ensure_ascii=False)


def _line(what: str, value: object) -> None:
    typer.echo(f"{what:<14} {value}")


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
