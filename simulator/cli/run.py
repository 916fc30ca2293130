"""``simulator run``: run a scenario, show how it goes, and print the report."""

from __future__ import annotations

import asyncio
import shlex
import signal
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
import uvloop
from rich.console import Console

from simulator.cli.app import INTERRUPTED
from simulator.cli.cluster_terms import scheduler_address
from simulator.engine.coordinator import Coordinator
from simulator.engine.crew import Inline
from simulator.engine.processes import processes_wanted
from simulator.errors import UsageError
from simulator.identity.cluster_folder import Role
from simulator.link.key_log import KeyLog
from simulator.report.folder import REPORT_FILE
from simulator.report.progress import ProgressView
from simulator.report.text import render
from simulator.scenario.loader import load

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulator.engine.crew import Crew
    from simulator.report.figures import Report
    from simulator.scenario.model import Scenario

__all__ = ["run"]


ScenarioName = Annotated[
    str,
    typer.Argument(
        metavar="SCENARIO",
        help="A scenario file, or the name of one that ships (see: simulator scenarios).",
        show_default=False,
    ),
]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a value: fleet.core2.devices=2000. Repeatable."),
]
Seed = Annotated[int | None, typer.Option(help="Seed of everything random.", show_default="the scenario's")]
Out = Annotated[
    Path | None, typer.Option(help="Folder for the results.", show_default="runs/<time>-<scenario>")
]
BrokerChoice = Annotated[
    str | None,
    typer.Option(
        help="embedded, mosquitto, or host:port of one that runs already.", show_default="the scenario's"
    ),
]
KeyLogFile = Annotated[
    Path | None,
    typer.Option(
        envvar="SSLKEYLOGFILE",
        metavar="FILE",
        help="Append the TLS secrets of the devices to FILE, which then decrypts their traffic.",
        show_default=False,
    ),
]
Processes = Annotated[
    str | None,
    typer.Option(
        metavar="N|auto",
        help="Share the devices out to N processes; auto is one per core, less one for a broker here. With "
        "--cluster: use N of its workers.",
        show_default="1, or all workers",
    ),
]
ClusterAddress = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="tls://HOST:PORT",
        help="Run on the workers of this scheduler; docs/cluster.md says how to start one.",
        show_default=False,
    ),
]
ClusterCertificates = Annotated[
    Path | None,
    typer.Option(
        envvar="SIMULATOR_CLUSTER_CERTIFICATES",
        metavar="FOLDER",
        help="Certificates for --cluster, from: simulator cluster certificates.",
        show_default=False,
    ),
]
Authorised = Annotated[
    bool,
    typer.Option(
        "--authorised", help="Say that the operator of a broker at a public address lets you load it."
    ),
]


def run(
    scenario: ScenarioName,
    *,
    set_: Changes = None,
    seed: Seed = None,
    out: Out = None,
    broker: BrokerChoice = None,
    key_log: KeyLogFile = None,
    processes: Processes = None,
    cluster: ClusterAddress = None,
    cluster_certificates: ClusterCertificates = None,
    authorised: Authorised = False,
) -> None:
    """Run a scenario and report latency and failures."""
    view = ProgressView()
    loaded = load(scenario, overrides=set_ or (), seed=seed, broker=broker, authorised=authorised)
    if cluster is not None and key_log is not None:
        raise UsageError("the TLS secrets of a cluster's workers are not collected: leave out --key-log")
    crew = crew_of(loaded.scenario, processes, cluster, cluster_certificates)
    with logging_keys(key_log) as keys:
        coordinator = Coordinator(loaded, out, view, keys, crew)
        try:
            with closing(view), coordinator, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                report = runner.run(until_interrupted(coordinator))
        except KeyboardInterrupt:
            report = None
    if report is None:
        saved = (coordinator.path / REPORT_FILE).exists()
        typer.echo(f"Interrupted. {_saved(coordinator) if saved else 'Nothing was run.'}", err=True)
        raise typer.Exit(INTERRUPTED)
    Console(highlight=False).print(render(report))
    if coordinator.trouble:
        typer.echo(f"\nNot saved: {coordinator.trouble}", err=True)
    else:
        typer.echo(f"\n{_saved(coordinator)}")
    raise typer.Exit(report.exit_code)


def crew_of(
    scenario: Scenario, processes: str | None, cluster: str | None, certificates: Path | None
) -> Crew:
    """Return who runs the shards that the options ask for; raise UsageError for options that do not fit."""
    number = processes_wanted(processes, scenario.broker)
    if cluster is None and (number is None or number == 1):
        return Inline()
    from simulator.engine import clusters, security, workers  # noqa: PLC0415 - Dask takes half a second

    if cluster is None:
        return workers.Workers(clusters.LocalWorkers(number or 1))
    if certificates is None:
        raise UsageError(
            "--cluster needs certificates that its scheduler knows: --cluster-certificates FOLDER, as made by"
            " `simulator cluster certificates FOLDER`"
        )
    address, ours = scheduler_address(cluster, "--cluster"), security.security_of(certificates, Role.CLIENT)
    return workers.Workers(clusters.RunningCluster(address, ours, number))


@contextmanager
def logging_keys(path: Path | None) -> Iterator[KeyLog | None]:
    """Open the key log that was asked for, and say on stderr what it is; None where none was."""
    if path is None:
        yield None
        return
    with KeyLog(path) as key_log:
        typer.echo(
            f"warning: the TLS secrets of this run are appended to {path}: whoever has that file can decrypt"
            " the run's traffic",
            err=True,
        )
        yield key_log
    if key_log.trouble:
        typer.echo(f"warning: {key_log.trouble}", err=True)


def _saved(coordinator: Coordinator) -> str:
    path = shlex.quote(str(coordinator.path))
    return f"Saved in {path}; to see it again: simulator report {path}"


async def until_interrupted(coordinator: Coordinator) -> Report | None:
    """Run until the end, or until Ctrl-C: once ends the run in an orderly way, twice at once (None)."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    presses = 0

    def interrupt() -> None:
        nonlocal presses
        presses += 1
        if presses == 1:
            coordinator.stop()
        elif task is not None:
            task.cancel()

    loop.add_signal_handler(signal.SIGINT, interrupt)
    loop.add_signal_handler(signal.SIGTERM, interrupt)
    try:
        return await coordinator.run()
    except asyncio.CancelledError:
        return None
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        loop.remove_signal_handler(signal.SIGTERM)
