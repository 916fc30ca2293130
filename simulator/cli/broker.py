"""``simulator broker``: run a broker by itself, for other tools and for runs against an external broker."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shlex
import signal
import tempfile
from contextlib import ExitStack
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulator.brokers.embedded import EmbeddedBroker
from simulator.brokers.mosquitto import MosquittoBroker
from simulator.errors import FleetError, SimulatorError
from simulator.identity import passphrase, pem
from simulator.identity.authority import Authority
from simulator.identity.store import FleetStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator.brokers.managed import ManagedBroker

__all__ = ["app"]

_DEMO_DEVICES = 500
_CRL_VALIDITY = timedelta(days=30)

app = typer.Typer(help="Run a broker that demands a client certificate.", no_args_is_help=True)


class Kind(StrEnum):
    """The brokers that can be started here."""

    EMBEDDED = "embedded"
    MOSQUITTO = "mosquitto"


@app.callback()
def _broker() -> None:
    """Keep ``start`` a command of its own, although it is the only one."""


@app.command()
def start(
    fleet: Annotated[
        Path | None, typer.Option(help="Accept this fleet; without, a demo fleet is made.")
    ] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")
    ] = 8883,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    kind: Annotated[Kind, typer.Option(help="Which broker to run.")] = Kind.EMBEDDED,
    files: Annotated[
        Path | None,
        typer.Option(help="Folder for the certificates; without, one that is removed at the end."),
    ] = None,
) -> None:
    """Run a broker until Ctrl-C, and print how to connect to it."""
    with ExitStack() as stack:
        folder = files or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="simulator-broker-")))
        fleet_file = fleet or _demo_fleet(folder)
        store = stack.enter_context(FleetStore.open(fleet_file, passphrase.given))
        broker = _open(kind, store, host, port)
        device = _write_files(folder, store, broker)
        asyncio.run(_run(broker, store, lambda: _announce(broker, folder, fleet_file, device)))


def _show_log() -> None:
    """Show what the broker has to say, such as why it refused a client, on standard error."""
    log = logging.getLogger("simulator.brokers")
    log.setLevel(logging.INFO)
    log.addHandler(logging.StreamHandler())


def _open(kind: Kind, store: FleetStore, host: str, port: int) -> ManagedBroker:
    program = EmbeddedBroker if kind is Kind.EMBEDDED else MosquittoBroker
    broker = program((), host=host, port=port)
    broker.admit(store.trust_anchors, _revocation_lists(store))
    return broker


def _revocation_lists(store: FleetStore) -> tuple[bytes, ...]:
    """Return lists that hold as long as the broker's certificate; none where there is nobody to sign them."""
    return store.revocation_lists(_CRL_VALIDITY) if store.authority is not None else ()


def _demo_fleet(folder: Path) -> Path:
    """Return the fleet file of ``folder``, made where there is none yet."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / "demo.fleet"
    if not path.exists():
        with FleetStore.create(path, Authority.create("Demo")) as store:
            store.issue(_DEMO_DEVICES, prefix="core2-")
    return path


def _write_files(folder: Path, store: FleetStore, broker: ManagedBroker) -> str:
    """Write the broker's root and one device's certificate and key; return the name of the device."""
    devices = store.credentials(limit=1)
    if not devices:
        raise FleetError(f"{store.path} holds no device to connect with; `simulator fleet create` makes some")
    device, credential = devices[0]
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write(folder / "ca.pem", pem.certificates(broker.trust))
    _write(folder / f"{device}.pem", credential.chain_pem())
    _write(folder / f"{device}.key", credential.key_pem())
    return device


def _write(path: Path, text: str) -> None:
    """Write a file that only its owner may read, from its first byte on."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def _announce(broker: ManagedBroker, folder: Path, fleet: Path, device: str) -> None:
    """Print how to connect, as lines that can be pasted."""
    (endpoint,) = broker.endpoints
    files = folder.resolve()
    client = [
        "--cafile",
        f"{files}/ca.pem",
        "--cert",
        f"{files}/{device}.pem",
        "--key",
        f"{files}/{device}.key",
    ]
    client += ["-h", endpoint.host, "-p", str(endpoint.port)]
    run = ["simulator", "run", "quickstart", "--broker", str(endpoint)]
    run += ["--set", f'broker.trust=["{files}/ca.pem"]', "--set", f'fleet.core2.store="{fleet.resolve()}"']
    typer.echo(f"{broker.description}\n\nSubscribe, publish, run a fleet against it:\n")
    typer.echo("  " + shlex.join(["mosquitto_sub", *client, "-t", f"fleet/{device}/#", "-v"]))
    typer.echo(
        "  " + shlex.join(["mosquitto_pub", *client, "-t", f"fleet/{device}/telemetry", "-m", "hello"])
    )
    typer.echo("  " + shlex.join(run))
    revoke = shlex.join(["simulator", "fleet", "revoke", str(fleet.resolve()), device])
    typer.echo(f"\nRevoke a device, and tell the broker so:\n\n  {revoke}\n  kill -HUP {os.getpid()}")
    typer.echo("\nCtrl-C ends the broker.")


async def _run(broker: ManagedBroker, store: FleetStore, announce: Callable[[], None]) -> None:
    """Run ``broker`` until it fails (BrokerError) or this process is told to end."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    revocations = asyncio.Event()
    loop.add_signal_handler(signal.SIGHUP, revocations.set)
    if task is not None:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, task.cancel)
    try:
        with contextlib.suppress(asyncio.CancelledError):
            await broker.start()
            _show_log()
            announce()
            async with asyncio.TaskGroup() as group:
                group.create_task(broker.wait_failed(), name="broker watch")
                group.create_task(_pass_on(revocations, store, broker), name="revocations")
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    finally:
        await broker.stop()


async def _pass_on(revocations: asyncio.Event, store: FleetStore, broker: ManagedBroker) -> None:
    """Give the broker the fleet's revocations at each SIGHUP, as a user tells mosquitto to read its files."""
    while True:
        await revocations.wait()
        revocations.clear()
        try:
            await broker.take_crls(store.revocation_lists(_CRL_VALIDITY))
        except SimulatorError as error:
            typer.echo(f"error: {error}", err=True)
        else:
            typer.echo(f"the broker judges by the revocations in {store.path}")
