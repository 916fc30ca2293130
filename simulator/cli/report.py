"""The verb ``report``: makes the report of a run again, from what the run saved."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated

import typer
from rich.console import Console

from simulator.report.saved import read
from simulator.report.summary import summarize
from simulator.report.text import render

__all__ = ["report"]


def report(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Folder that `simulator run` wrote.", show_default=False)
    ],
    json: Annotated[bool, typer.Option("--json", help="Print report.json instead of text.")] = False,
) -> None:
    """Report a run again, also one that was interrupted or killed.

    The exit code is that of the run.
    """
    made = summarize(read(run))
    if json:
        typer.echo(made.to_json(), nl=False)
    else:
        Console(highlight=False).print(render(made))
    raise typer.Exit(made.exit_code)
