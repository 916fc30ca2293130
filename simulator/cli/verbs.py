"""The verbs of ``simulator`` put together, and errors turned into one sentence and an exit code."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

import simulator
from simulator.cli import broker, fleet
from simulator.cli.report import report
from simulator.cli.run import run
from simulator.cli.scenarios import scenarios
from simulator.errors import ScenarioError, SimulatorError

__all__ = ["app", "execute"]

EPILOG = (
    "Exit codes: 0 all thresholds met · 1 a threshold broken · 2 wrong usage or configuration · "
    "3 the run does not count · 4 broker not reached · 130 interrupted"
)

app = typer.Typer(
    name="simulator",
    help="Simulate and load-test fleets of MQTT devices that each have their own X.509 certificate.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(run)
app.command()(report)
app.command()(scenarios)
app.add_typer(fleet.app, name="fleet")
app.add_typer(broker.app, name="broker")


def show_version(wanted: bool) -> None:
    """Print the version and end."""
    if wanted:
        typer.echo(f"simulator {simulator.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=show_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Take the options that belong to no verb."""


def execute() -> int:
    """Run the command line and return its exit code; an error of ours becomes a sentence on stderr."""
    try:
        app()
    except SimulatorError as error:
        complain(error)
        return error.exit_code
    return 0


def complain(error: SimulatorError) -> None:
    """Say on stderr what is wrong: one line for each mistake."""
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    sentences = error.problems if isinstance(error, ScenarioError) else (str(error),)
    for sentence in sentences:
        console.print("error: ", style="bold red", end="")
        console.print(sentence, markup=False)
