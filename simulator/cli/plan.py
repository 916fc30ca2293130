"""``simulator plan``: measure this machine for some seconds, and say what a scenario will take."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer
import uvloop
from rich.console import Console

from simulator.cli.app import INTERRUPTED
from simulator.cli.run import BrokerChoice, Changes, ScenarioName, Seed, until_interrupted
from simulator.planning.plan import plan as make
from simulator.planning.text import render
from simulator.report.progress import ProgressView
from simulator.scenario.loader import load

if TYPE_CHECKING:
    from simulator.engine.coordinator import Coordinator
    from simulator.report.figures import Report

__all__ = ["plan"]


def plan(
    scenario: ScenarioName,
    *,
    workers: Annotated[
        list[int] | None,
        typer.Option(min=1, metavar="N", help="Say also what each of N workers takes. Repeatable."),
    ] = None,
    set_: Changes = None,
    seed: Seed = None,
    broker: BrokerChoice = None,
    json: Annotated[bool, typer.Option("--json", help="Print the forecast as JSON instead of text.")] = False,
) -> None:
    """Say what a scenario will take: cores, memory, addresses, time.

    For some seconds a few of its devices run on this machine, against a broker that is started for it: never
    against one that runs already.
    """
    loaded = load(scenario, overrides=set_ or (), seed=seed, broker=broker)
    view, unseen = ProgressView(), ProgressView(Console(quiet=True))
    typer.echo("measuring this machine, for about 15 s", err=True)
    try:
        forecast = make(loaded, workers or (), view, unseen, run)
    except KeyboardInterrupt:
        forecast = None
    finally:
        view.close()
    if forecast is None:
        typer.echo("Interrupted. Nothing is known yet.", err=True)
        raise typer.Exit(INTERRUPTED)
    if json:
        typer.echo(forecast.to_json())
    else:
        Console(highlight=False).print(render(forecast))


def run(coordinator: Coordinator) -> Report | None:
    """Let a coordinator run to its end, or until Ctrl-C."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(until_interrupted(coordinator))
