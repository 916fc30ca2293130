"""``simulator cluster``: a scheduler and workers on several machines, for ``simulator run --cluster``."""

from __future__ import annotations

import asyncio
import signal
import sys
from datetime import timedelta
from functools import partial
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer
import uvloop

from simulator.cli.cluster_terms import (
    SCHEDULER_PORT,
    CertificatesFolder,
    endpoint,
    scheduler_address,
)
from simulator.engine.processes import processes_asked
from simulator.engine.worker_processes import run_side_by_side
from simulator.identity.cluster_folder import CLUSTER_VALIDITY, Role, export_cluster
from simulator.scenario.kinds import Endpoint

if TYPE_CHECKING:
    from collections.abc import Coroutine

__all__ = ["app"]

app = typer.Typer(help="Spread a run over several machines.", no_args_is_help=True)


@app.command()
def certificates(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="New folder for the certificates.")],
    *,
    days: Annotated[int, typer.Option(min=1, help="How long they are valid.")] = CLUSTER_VALIDITY.days,
) -> None:
    """Make the certificates of a cluster: a folder each for client, scheduler and worker."""
    export_cluster(folder, timedelta(days=days))
    at = f"tls://SCHEDULER:{SCHEDULER_PORT}"
    steps = {
        Role.SCHEDULER: "simulator cluster scheduler --certificates scheduler --listen HOST",
        Role.WORKER: f"simulator cluster worker {at} --certificates worker --listen HOST --processes auto",
        Role.CLIENT: f"simulator run SCENARIO --cluster {at} --cluster-certificates client",
    }
    typer.echo("Copy each folder to the machines that need it, and no other; then, beside it:")
    for role, step in steps.items():
        typer.echo(f"\n{folder / role}\n  {step}")
    typer.echo(
        f"\nWhoever has one of these keys can run code on every machine of the cluster, for {days} days."
        " The authority's own keys are kept nowhere: in time, make new certificates for all."
    )


@app.command()
def scheduler(
    folder: CertificatesFolder,
    *,
    listen: Annotated[
        str,
        typer.Option(metavar="HOST[:PORT]", help="Where to listen; other machines cannot reach a loopback."),
    ] = f"127.0.0.1:{SCHEDULER_PORT}",
) -> None:
    """Run the scheduler, which brings workers and runs together, until Ctrl-C."""
    where = endpoint(listen, "--listen", SCHEDULER_PORT)
    from simulator.engine import servers  # noqa: PLC0415 - Dask takes half a second

    _serve(servers.serve_scheduler(where, folder, partial(_announce, "scheduler")))


@app.command()
def worker(
    address: Annotated[
        str,
        typer.Argument(
            metavar="SCHEDULER", help=f"Its address: tls://HOST:{SCHEDULER_PORT}.", show_default=False
        ),
    ],
    folder: CertificatesFolder,
    *,
    listen: Annotated[
        str,
        typer.Option(
            metavar="HOST[:PORT]",
            help="Where to listen; of several processes each takes the next port. Without PORT, a free one.",
        ),
    ] = "127.0.0.1",
    count: Annotated[
        str,
        typer.Option("--processes", metavar="N", help="How many, of one core each; auto: one for each core."),
    ] = "1",
) -> None:
    """Run workers, each of which drives its share of the devices of a run, until Ctrl-C."""
    there, here = scheduler_address(address, "SCHEDULER"), endpoint(listen, "--listen", 0)
    wanted = processes_asked(count)
    if wanted == 1:
        from simulator.engine import servers  # noqa: PLC0415 - Dask takes half a second

        _serve(servers.serve_worker(there, here, folder, partial(_announce, "worker")))
    else:
        raise typer.Exit(_serve(_several(there, here, folder, wanted)) or 0)


async def _several(there: str, here: Endpoint, folder: Path, count: int) -> int:
    """Run several workers, and return the first exit code that is not 0."""
    from simulator.engine.reach import reach  # noqa: PLC0415 - Dask takes half a second
    from simulator.engine.security import security_of  # noqa: PLC0415

    await reach(there, security_of(folder, Role.WORKER), Role.WORKER)  # what is wrong for all is said once
    program = [sys.executable, "-m", "simulator", "cluster", "worker", there, "--certificates", str(folder)]
    places = (Endpoint(here.host, here.port + index if here.port else 0) for index in range(count))
    commands = [[*program, "--listen", str(place).removesuffix(":0")] for place in places]
    return await run_side_by_side(commands, partial(typer.echo, err=True))


def _announce(role: str, address: str) -> None:
    typer.echo(f"{role} at {address}, until Ctrl-C")


def _serve(serving: Coroutine[Any, Any, int | None]) -> int | None:
    """Run a server until it ends by itself, or is asked to by Ctrl-C or SIGTERM (None): an orderly end."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_until_told(serving))


async def _until_told(serving: Coroutine[Any, Any, int | None]) -> int | None:
    loop, task = asyncio.get_running_loop(), asyncio.create_task(serving, name="server")
    for number in (signal.SIGINT, signal.SIGTERM):
        # Once: whoever tells it again while it takes leave would only break that off.
        loop.add_signal_handler(number, lambda: task.cancelling() or task.cancel())
    await asyncio.wait([task])
    return None if task.cancelled() else task.result()
