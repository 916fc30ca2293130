"""The verbs of ``simulator`` put together, and errors turned into one sentence and an exit code."""

from __future__ import annotations

import sys
from importlib import import_module, metadata
from typing import Annotated

import typer
from rich.console import Console

from simulator.errors import ScenarioError, SimulatorError, UsageError

__all__ = ["asked_for", "command_line", "execute"]

_GROUPS = ("fleet", "broker", "cluster")
"""Verbs that have verbs below them."""

_VERBS = ("run", "plan", "report", "scenarios", *_GROUPS)
"""In the order of the help; each is the name of its module and of its function there."""

EPILOG = (
    "Exit codes: 0 all thresholds met · 1 a threshold broken · 2 wrong usage or configuration · "
    "3 the run does not count · 4 broker not reached · 130 interrupted"
)


def show_version(wanted: bool) -> None:
    """Print the version and end."""
    if wanted:
        typer.echo(f"simulator {metadata.version('mqtt-fleet-simulator')}")
        raise typer.Exit


def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=show_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Take the options that belong to no verb."""


def command_line(*verbs: str) -> typer.Typer:
    """Return the command line with these verbs alone, or all: to import all takes longer than many a verb."""
    app = typer.Typer(
        name="simulator",
        help="Simulate and load-test fleets of MQTT devices that each have their own X.509 certificate.",
        epilog=EPILOG,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(options)
    for verb in verbs or _VERBS:
        module = import_module(f"simulator.cli.{verb}")
        if verb in _GROUPS:
            app.add_typer(module.app, name=verb)
        else:
            app.command()(getattr(module, verb))
    return app


def asked_for() -> typer.Typer:
    """Return the command line with the verb that this process was started for."""
    return command_line(*(verb for verb in sys.argv[1:2] if verb in _VERBS))


def execute(app: typer.Typer | None = None) -> int:
    """Run the command line and return its exit code; what is wrong becomes a sentence on stderr."""
    app = app or asked_for()
    try:
        return app(prog_name="simulator", standalone_mode=False) or 0
    except typer.TyperException as error:
        from simulator.cli.usage import usage_error  # noqa: PLC0415 - brings in the model, for a mistake alone

        wrong = usage_error(error)
        if wrong is not None:
            complain(wrong)
        return UsageError.exit_code
    except SimulatorError as error:
        complain(error)
        return error.exit_code


def complain(error: SimulatorError) -> None:
    """Say on stderr what is wrong: one line for each mistake."""
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    sentences = error.problems if isinstance(error, ScenarioError) else (str(error),)
    for sentence in sentences:
        console.print("error: ", style="bold red", end="")
        console.print(sentence, markup=False)
