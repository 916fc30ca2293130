"""``simulator scenarios``: what ships with the package, a line each."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from simulator.scenario.shipped import shipped

__all__ = ["scenarios"]


def scenarios() -> None:
    """List the scenarios that ship with the simulator; run one by its name."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for scenario in shipped():
        table.add_row(scenario.name, scenario.title)
    console = Console()
    console.print(table)
    console.print("\nRun one:  simulator run quickstart", style="dim")
