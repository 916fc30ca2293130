"""A generator that is asked for more than it can do says so, and its run does not count."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from simulator.report.folder import REPORT_FILE
from tests.support.command import simulator
from tests.support.faulty_plan import Certificates, Fault, Plan, Step, Then

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.command import Ended
    from tests.truth.rig import Rig

SINK = Plan(certificates=Certificates.IGNORE, fault=Fault(Step.CONNECT, Then.SILENCE, answers=True))
"""Takes whatever comes after CONNACK as fast as the kernel gives it: QoS 0 asks for no answer."""

SCENARIO = """\
title = "More than one core can do"
[broker]
kind = "external"
endpoints = ["{endpoint}"]
trust = ["broker.pem"]
[fleet.units]
devices = 10
telemetry = {{ topic = "t/{{device}}", every = "1h", payload = {{ size = 128 }} }}
[[stage]]
name = "connect"
connect = {{ fleet = "units", rate = "50/s" }}
duration = "400ms"
[[stage]]
name = "flood"
duration = "300ms"
publish = {{ fleet = "units", rate = "{rate}/s" }}
[thresholds]
"failures" = "== 0"
"publish.count" = "== {messages}"
"""


async def flood(rig: Rig, folder: Path, rate: int) -> tuple[Ended, dict[str, Any]]:
    """Run the command at a rate of messages; every threshold is one that the broker meets."""
    port = rig.broker.listen(SINK)
    (folder / "broker.pem").write_text(rig.trust_pem)
    text = SCENARIO.format(endpoint=port.endpoint, rate=rate, messages=rate * 3 // 10)
    (folder / "flood.toml").write_text(text)
    ended = await asyncio.to_thread(simulator, "run", "flood.toml", "--out", "out", folder=folder)
    rig.broker.record()
    return ended, json.loads((folder / "out" / REPORT_FILE).read_text())


async def test_a_saturated_generator_says_so_and_the_run_does_not_count(rig: Rig, tmp_path: Path) -> None:
    ended, report = await flood(rig, tmp_path, 160_000)
    assert report["generator"]["lag"]["p99"] > report["generator"]["lag_limit"]
    assert {each["status"] for each in report["thresholds"]} == {"met"}
    assert report["conclusion"] == "not_counted"
    assert "The generator was the limit, not the broker" in ended.out.replace("\n", " ")
    assert ended.code == report["exit_code"] == 3


async def test_the_same_run_counts_where_the_generator_keeps_up(rig: Rig, tmp_path: Path) -> None:
    ended, report = await flood(rig, tmp_path, 200)
    assert report["generator"]["lag"]["p99"] < report["generator"]["lag_limit"]
    assert (ended.code, report["conclusion"]) == (0, "met")
