"""Runs in which devices come back with their TLS sessions: what is counted, and what is said of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from simulator.engine.coordinator import Coordinator
from simulator.metrics.sample import Phase
from simulator.report.saved import read
from simulator.report.summary import summarize
from tests.engine.scenarios import small
from tests.engine.watching import Witness
from tests.support.tools import require

if TYPE_CHECKING:
    from pathlib import Path

    from simulator.report.figures import FleetFigures

SCENARIO = """\
title = "All devices come back once"
seed = 3
[fleet.core2]
devices = 20
reconnect = { first = "50ms", most = "100ms" }
[[stage]]
name = "ramp"
connect = { fleet = "core2", rate = "200/s" }
[[stage]]
name = "settle"
duration = "300ms"
[[stage]]
name = "storm"
reconnect = { fleet = "core2", within = "200ms", abrupt = true }
[[stage]]
name = "calm"
duration = "300ms"
[limits]
lag = "10s"
[thresholds]
"failures" = "== 0"
"""
STORM = 'reconnect = { fleet = "core2", within = "200ms", abrupt = true }'
OUTAGE = 'outage = "100ms"\nduration = "2s"'
RESUMES = "fleet.core2.resumption=true"

kinds = pytest.mark.parametrize("kind", ["embedded", "mosquitto"])


async def run(folder: Path, kind: str, *overrides: str, text: str = SCENARIO) -> FleetFigures:
    """Run a scenario, and return what the report says of its fleet."""
    if kind == "mosquitto":
        require("mosquitto")
    with Coordinator(small(folder, *overrides, text=text, broker=kind), folder / "run", Witness()) as running:
        report = await running.run()
    assert summarize(read(folder / "run")) == report
    (fleet,) = report.fleets
    return fleet


def succeeded(fleet: FleetFigures) -> dict[Phase, int]:
    return {phase.phase: phase.outcomes["ok"] for phase in fleet.phases if "ok" in phase.outcomes}


@kinds
@pytest.mark.parametrize("version", ["1.2", "1.3"])
async def test_all_that_come_back_resume_and_it_is_cheaper(kind: str, version: str, tmp_path: Path) -> None:
    fleet = await run(tmp_path, kind, RESUMES, f'fleet.core2.tls="{version}"')
    counts, figures = succeeded(fleet), fleet.resumption
    assert figures is not None
    assert figures.reconnects > 0  # on a busy machine not all are there yet when they are to come again
    assert (figures.resumed, figures.refused) == (figures.reconnects, 0)
    assert counts[Phase.TLS_RESUMPTION] == figures.resumed
    assert counts[Phase.TLS_HANDSHAKE] == counts[Phase.CONNECT] - figures.resumed == 20
    assert figures.full_cpu is not None
    assert figures.resumed_cpu is not None
    assert 0 < figures.resumed_cpu < figures.full_cpu


@kinds
async def test_who_does_not_ask_shakes_hands_in_full(kind: str, tmp_path: Path) -> None:
    fleet = await run(tmp_path, kind)
    counts = succeeded(fleet)
    assert counts[Phase.TLS_HANDSHAKE] == counts[Phase.CONNECT] > 20
    assert Phase.TLS_RESUMPTION not in counts
    assert fleet.resumption is None


async def test_offers_to_a_broker_that_has_forgotten_count_as_full_and_are_told(tmp_path: Path) -> None:
    text = SCENARIO.replace(STORM, OUTAGE).replace('[thresholds]\n"failures" = "== 0"\n', "")
    fleet = await run(tmp_path, "mosquitto", RESUMES, text=text)
    counts, figures = succeeded(fleet), fleet.resumption
    assert figures is not None
    assert figures.reconnects > 0
    assert (figures.resumed, figures.refused) == (0, figures.reconnects)
    assert counts[Phase.TLS_HANDSHAKE] == 20 + figures.reconnects
    assert Phase.TLS_RESUMPTION not in counts
