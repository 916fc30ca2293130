"""What a run was: the values that are known when it starts, and how it ended. Saved as ``run.json``."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime  # noqa: TC003 - pydantic reads the annotation when it builds the adapter
from enum import StrEnum

from pydantic import TypeAdapter

from simulator.metrics.delivery import Hearing  # noqa: TC001 - as above

__all__ = ["FORMAT", "RUN", "Loss", "Run", "RunStatus", "Stage"]

FORMAT = 1
"""Version of the run folder's files; a reader refuses a newer one."""


class RunStatus(StrEnum):
    """How far a run got; a folder that still says ``RUNNING`` was left by a process that was killed."""

    RUNNING = "running"
    COMPLETE = "complete"
    INTERRUPTED = "interrupted"
    FAILED = "failed"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage as planned; times are nanoseconds since the start of the run."""

    name: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Loss:
    """A shard that was lost, and its devices with it; ``at`` is nanoseconds since the start of the run."""

    shard: int
    at: int
    devices: dict[str, int]
    """How many of each fleet."""
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run: what against what, where, and what it must achieve."""

    scenario: str
    """Name of the scenario, as in the folder's name."""
    title: str
    changes: tuple[str, ...] = ()
    """Options of the command line that changed the scenario, whose title does not know of them."""
    seed: int
    started: datetime
    """Time of day in UTC."""
    broker: str
    """In words, with its version and address."""
    endpoints: tuple[str, ...] = ()
    fleets: dict[str, int] = field(default_factory=dict)
    """Devices of each fleet."""
    stages: tuple[Stage, ...] = ()
    thresholds: dict[str, str] = field(default_factory=dict)
    """Limit by measure, as written."""
    lag_limit: int
    """Nanoseconds: the 99th percentile of lag over which the generator was the limit."""
    hosts: tuple[str, ...] = ("this process",)
    """Where each shard ran, in words."""
    losses: tuple[Loss, ...] = ()
    """Shards that were lost while the run went on, in that order."""
    versions: dict[str, str] = field(default_factory=dict)
    machine: dict[str, str] = field(default_factory=dict)
    status: RunStatus = RunStatus.RUNNING
    detail: str = ""
    """Why the run failed or was not begun, in a sentence; empty where there is nothing to say."""
    hearing: Hearing | None = None
    """How the observer fared; None where there was none, or the run did not get to its end."""
    format: int = FORMAT


RUN = TypeAdapter(Run)
"""Reads and writes ``run.json``."""
