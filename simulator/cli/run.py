"""``simulator run``: run a scenario, show how it goes, and print the report."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from rich.console import Console

from simulator.engine.coordinator import Coordinator
from simulator.report.progress import ProgressView
from simulator.report.text import render
from simulator.scenario.loader import load

__all__ = ["run"]


def run(
    scenario: Annotated[
        str, typer.Argument(help="A scenario file, or the name of one that ships (see: simulator scenarios).")
    ],
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change one value, e.g. fleet.core2.devices=2000. Repeatable."
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of everything random, instead of the scenario's.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results; by default runs/<time>-<scenario>.")
    ] = None,
    broker: Annotated[
        str | None, typer.Option(help="embedded, mosquitto, or host:port of a broker that runs already.")
    ] = None,
) -> None:
    """Run a scenario and report latency and failures."""
    loaded = load(scenario, overrides=set_ or (), seed=seed, broker=broker)
    view = ProgressView()
    coordinator = Coordinator(loaded, out, view)
    try:
        report = uvloop.run(coordinator.run())
    finally:
        view.close()
    Console().print(render(report))
    sys.stdout.flush()
    typer.echo(f"\nSaved in {coordinator.path}/  (again: simulator report {coordinator.path})")
    raise typer.Exit(report.exit_code)
