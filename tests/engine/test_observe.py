"""Observed and commanded runs against real brokers: who the observer is to them, and how it all ends."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest

from simulator.engine.coordinator import Coordinator
from simulator.engine.passport import issue_passport
from simulator.errors import FleetError
from simulator.identity.authority import Authority
from simulator.metrics.sample import Phase
from simulator.report.conclusion import Conclusion
from simulator.report.saved import read
from simulator.report.summary import summarize
from tests.engine.scenarios import small
from tests.engine.test_fleets import imported
from tests.engine.watching import Witness
from tests.support.tools import require

if TYPE_CHECKING:
    from pathlib import Path

    from simulator.report.figures import Report
    from simulator.scenario.loader import LoadedScenario

SCENARIO = """\
title = "Two fleets are observed, and one of them commanded"
seed = 5
[fleet.core2]
devices = 6
[fleet.core2.telemetry]
topic = "fleet/{device}/telemetry"
every = "50ms"
qos = 1
[fleet.core2.commands]
topic = "fleet/{device}/commands"
answer = "fleet/{device}/answers"
[fleet.quiet]
devices = 3
[fleet.quiet.telemetry]
topic = "quiet/{device}"
every = "50ms"
qos = 0
payload = { template = "{counter} {device} {due}" }
[observe]
[[stage]]
name = "ramp"
duration = "500ms"
connect = { fleet = "core2", rate = "100/s" }
[[stage]]
name = "quiet"
connect = { fleet = "quiet", rate = "100/s" }
[[stage]]
name = "steady"
duration = "700ms"
command = { fleet = "core2", share = 0.5, rate = "20/s" }
publish = { fleet = "quiet", rate = "20/s", qos = 1 }
[limits]
lag = "10s"
drain = "5s"
[thresholds]
"lost" = "== 0"
"duplicated" = "== 0"
"reordered" = "== 0"
"command_answer.lost" = "== 0"
"deliver.p99" = "< 5s"
"command.count" = ">= 14"
"command_answer.p99" = "< 5s"
"""

kinds = pytest.mark.parametrize("kind", ["embedded", "mosquitto"])


async def run(loaded: LoadedScenario, out: Path, witness: Witness | None = None) -> Report:
    with Coordinator(loaded, out, witness or Witness()) as coordinator:
        return await coordinator.run()


@kinds
async def test_every_message_command_and_answer_is_accounted_for(tmp_path: Path, kind: str) -> None:
    if kind == "mosquitto":
        require("mosquitto")
    report = await run(small(tmp_path, broker=kind, text=SCENARIO), tmp_path / "run")
    assert report.conclusion is Conclusion.MET, report.reason
    assert summarize(read(tmp_path / "run")).to_json() == report.to_json()
    ways = {
        (fleet.fleet, each.phase, each.qos): asdict(each)
        for fleet in report.fleets
        for each in fleet.deliveries
    }
    assert set(ways) == {
        ("core2", Phase.DELIVER, 1),
        ("core2", Phase.COMMAND, 1),
        ("core2", Phase.COMMAND_ANSWER, 1),
        ("quiet", Phase.DELIVER, 0),
        ("quiet", Phase.DELIVER, 1),
    }
    for counts in ways.values():
        assert counts["sent"] == counts["delivered"] > 0
    started = sum(each.started for fleet in report.fleets for each in fleet.arrivals if each.of == "message")
    heard = sum(counts["sent"] for (_, phase, _), counts in ways.items() if phase is not Phase.COMMAND)
    assert started == heard
    assert report.observer is not None
    assert report.observer.messages == heard
    saved = [json.loads(line) for line in (tmp_path / "run" / "deliveries.jsonl").read_text().splitlines()]
    assert sum(each["sent"] for each in saved) == sum(counts["sent"] for counts in ways.values())
    assert {each["device"] for each in saved if each["phase"] == "command"} < {
        each["device"] for each in saved if each["fleet"] == "core2"
    }
    assert all(0 < each["mean"] <= each["max"] for each in saved)


async def test_fleets_that_share_a_topic_are_told_apart_by_what_they_say(tmp_path: Path) -> None:
    text = SCENARIO.replace('"fleet/{device}/telemetry"', '"all"').replace('"quiet/{device}"', '"all"')
    report = await run(small(tmp_path, 'observe.topics=["all", "no/#"]', text=text), tmp_path / "run")
    assert report.conclusion is Conclusion.MET, report.reason
    sent = {fleet.fleet: sum(each.sent for each in fleet.deliveries[:1]) for fleet in report.fleets}
    assert min(sent.values()) > 0
    assert report.observer is not None
    assert report.observer.strangers == 0


@kinds
@pytest.mark.parametrize("certificates", ["imported", "self-signed"])
async def test_without_an_authority_of_the_fleets_the_observer_has_its_own(
    tmp_path: Path, kind: str, certificates: str
) -> None:
    if kind == "mosquitto":
        require("mosquitto")
    overrides = ['fleet.core2.certificates="self-signed"']
    if certificates == "imported":
        imported(tmp_path / "core2.fleet", 10)
        overrides = ['fleet.core2.store="core2.fleet"']
    loaded = small(tmp_path, "observe={}", 'stage.steady.duration="100ms"', *overrides, broker=kind)
    report = await run(loaded, tmp_path / "run")
    (delivered,) = report.fleets[0].deliveries
    assert delivered.sent == delivered.delivered > 0


async def test_an_observer_is_let_in_where_revocation_lists_are_checked(tmp_path: Path) -> None:
    loaded = small(tmp_path, "observe={}", "fleet.core2.revoked=0.1", 'stage.steady.duration="100ms"')
    report = await run(loaded, tmp_path / "run")
    (delivered,) = report.fleets[0].deliveries
    assert delivered.sent == delivered.delivered > 0


def test_an_external_broker_wants_a_certificate_that_it_knows(tmp_path: Path) -> None:
    loaded = small(tmp_path, "observe={}", broker="127.0.0.1:8883")
    with pytest.raises(FleetError, match=r"with certificate and key in \[cloud\]"):
        issue_passport(loaded, None)


def test_a_certificate_of_ones_own_is_used_and_needs_no_authority(tmp_path: Path) -> None:
    issued = Authority.create("Operator").issue_device("observer")
    (tmp_path / "o.pem").write_text(issued.chain_pem())
    (tmp_path / "o.key").write_text(issued.key_pem())
    cloud = 'cloud={ client_id = "eye", certificate = "o.pem", key = "o.key" }'
    passport = issue_passport(small(tmp_path, "observe={}", cloud, broker="127.0.0.1:8883"), None)
    assert passport is not None
    assert (passport.client_id, passport.credential, passport.trust) == ("eye", issued, ())


def test_nobody_is_issued_a_certificate_where_nobody_listens(tmp_path: Path) -> None:
    assert issue_passport(small(tmp_path), Authority.create("Fleet")) is None


async def test_an_outage_is_no_loss(tmp_path: Path) -> None:
    """Nobody can tell what became of messages while the broker, and with it the observer, was away."""
    require("mosquitto")
    text = SCENARIO.replace("command = {", 'outage = "300ms"\ncommand = {')
    text = text.replace("devices = 6", 'devices = 6\nreconnect = { first = "50ms", most = "100ms" }')
    loaded = small(tmp_path, 'stage.steady.duration="1500ms"', broker="mosquitto", text=text)
    report = await run(loaded, tmp_path / "run")
    (delivered,) = [each for each in report.fleets[0].deliveries if each.phase is Phase.DELIVER]
    assert delivered.lost == 0
    assert delivered.delivered > 6 * 15, "and after it all is heard again"
    assert report.observer is not None
    assert report.observer.breaks == 1
    assert report.observer.away >= 0.3


async def test_stopped_by_the_user_all_is_settled(tmp_path: Path) -> None:
    witness = Witness()
    loaded = small(tmp_path, "observe={}", 'stage.steady.duration="60s"')
    with Coordinator(loaded, tmp_path / "run", witness) as coordinator:
        witness.on["connected"] = coordinator.stop
        report = await coordinator.run()
    assert report.conclusion is Conclusion.INTERRUPTED
    (delivered,) = report.fleets[0].deliveries
    assert delivered.sent == delivered.delivered > 0
    assert summarize(read(tmp_path / "run")).to_json() == report.to_json()


async def test_ended_at_once_nothing_is_called_lost(tmp_path: Path) -> None:
    task = asyncio.current_task()
    assert task is not None
    witness = Witness(connected=task.cancel)
    loaded = small(tmp_path, "observe={}", 'stage.steady.duration="60s"', 'thresholds.lost="== 0"')
    with pytest.raises(asyncio.CancelledError):
        await run(loaded, tmp_path / "run", witness)
    task.uncancel()
    report = summarize(read(tmp_path / "run"))
    assert report.conclusion is Conclusion.INTERRUPTED
    (delivered,) = report.fleets[0].deliveries
    assert delivered.sent > 0
    assert delivered.lost == 0
