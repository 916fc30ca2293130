"""``simulator scenarios``: what ships with the package, a line each, and what a scenario may say."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from simulator.scenario.loader import load
from simulator.scenario.reference import reference
from simulator.scenario.shipped import shipped

__all__ = ["scenarios"]


def scenarios(
    name: Annotated[
        str | None, typer.Argument(help="Print this one, to be copied.", show_default=False)
    ] = None,
    keys: Annotated[
        bool, typer.Option("--reference", help="Print every key that a scenario may have, as Markdown.")
    ] = False,
) -> None:
    """List the scenarios that ship with the simulator, or print one."""
    if keys:
        typer.echo(reference(), nl=False)
        return
    if name is not None:
        typer.echo(load(name).text, nl=False)
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for scenario in shipped():
        kind = load(scenario.path).scenario.broker.kind
        table.add_row(scenario.name, f"{scenario.title} ({kind})")
    console = Console()
    console.print(table)
    console.print("\nRun one:   simulator run quickstart", style="dim")
    console.print("Print one: simulator scenarios quickstart > mine.toml", style="dim")
    console.print("Those on mosquitto need it installed, or: --broker embedded", style="dim")
