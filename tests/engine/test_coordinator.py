from __future__ import annotations

import asyncio
import json
import resource
import signal
import socket
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from simulator.brokers import mosquitto
from simulator.clock import wall
from simulator.engine.coordinator import Coordinator, made_folder, versions
from simulator.engine.together import first_of
from simulator.errors import BrokerError, BrokerUnreachableError, RunFolderError
from simulator.metrics.sample import Phase
from simulator.report.conclusion import Conclusion
from simulator.report.run import RunStatus
from simulator.report.saved import read
from simulator.report.summary import summarize
from tests.engine.scenarios import small
from tests.engine.watching import Witness
from tests.support.command import SMALL
from tests.support.listener import Listener
from tests.support.offspring import children
from tests.support.tools import require

if TYPE_CHECKING:
    from pathlib import Path

    from simulator.report.figures import FleetFigures, Report
    from simulator.scenario.loader import LoadedScenario

SHORT = ('stage.steady.duration="50ms"', 'stage.calm.duration="200ms"')
LASTING = 'stage.steady.duration="60s"'
FILES = {"failures.jsonl", "histograms.hlog", "intervals.jsonl", "report.json", "run.json", "scenario.toml"}


async def run(loaded: LoadedScenario, out: Path, witness: Witness | None = None) -> Report:
    with Coordinator(loaded, out, witness or Witness()) as coordinator:
        return await coordinator.run()


def outcomes(fleet: FleetFigures, phase: Phase) -> dict[str, int]:
    (figures,) = [each for each in fleet.phases if each.phase is phase]
    return figures.outcomes


async def test_a_run_from_scenario_to_report(tmp_path: Path) -> None:
    witness, loaded = Witness(), small(tmp_path)
    report = await run(loaded, tmp_path / "run", witness)
    assert (report.conclusion, report.exit_code) == (Conclusion.MET, 0)
    assert [step for step in witness.steps if step != "connected"] == [
        "issuing core2 0/10",
        "issuing core2 10/10",
        "broker",
        "started",
        "finished",
    ]
    (fleet,) = report.fleets
    assert outcomes(fleet, Phase.CONNECT) == {"ok": 15}  # ten, and half of them once more
    connects, messages = fleet.arrivals
    assert (connects.due, connects.started, connects.dropped) == (15, 15, 0)
    assert messages.due == messages.started + messages.offline  # offline: due while a device reconnected
    assert messages.started == outcomes(fleet, Phase.PUBLISH)["ok"]
    assert 110 <= messages.due <= 190  # ten devices, ten messages a second each, for one and a half
    assert [each.name for each in report.stages] == ["ramp", "steady", "storm", "calm"]
    assert all(each.reached_end for each in report.stages)
    assert {each.measure: each.measured for each in report.thresholds} == {"failures": 0, "connected": 100}
    assert report.failures == ()

    assert {path.name for path in (tmp_path / "run").iterdir()} == FILES
    assert (tmp_path / "run" / "scenario.toml").read_text() == loaded.text
    assert (tmp_path / "run" / "report.json").read_text() == report.to_json()
    assert summarize(read(tmp_path / "run")).to_json() == report.to_json()
    kept = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (kept["status"], kept["seed"], kept["fleets"]) == ("complete", 7, {"core2": 10})


async def test_without_a_folder_given_it_is_named_after_time_and_scenario(tmp_path: Path) -> None:
    witness, before = Witness(), wall()
    with Coordinator(small(tmp_path, LASTING), None, witness) as coordinator:
        witness.on["started"] = coordinator.stop
        report = await coordinator.run()
    assert coordinator.path.parts[0] == "runs"
    named = datetime.strptime(coordinator.path.name, "%Y%m%dT%H%M%SZ-small").replace(tzinfo=UTC)
    assert before.replace(microsecond=0) <= named <= report.started


async def test_what_the_thresholds_say_becomes_the_conclusion(tmp_path: Path) -> None:
    limits = ('thresholds."tls_handshake.p50"="< 1us"', 'thresholds."subscribe.p99"="< 60s"')
    loaded = small(tmp_path, *limits, *SHORT)
    report = await run(loaded, tmp_path / "run")
    assert (report.conclusion, report.exit_code) == (Conclusion.BROKEN, 1)
    assert "tls_handshake.p50" in report.reason
    statuses = {each.measure: str(each.status) for each in report.thresholds}
    assert statuses == {
        "failures": "met",
        "connected": "met",
        "tls_handshake.p50": "broken",
        "subscribe.p99": "no_data",
    }


async def test_an_outage_is_survived_and_told(tmp_path: Path) -> None:
    require("mosquitto")
    text = SMALL.replace('reconnect = { fleet = "core2", share = 0.5, within = "100ms" }', "").replace(
        'name = "storm"\n', 'name = "storm"\nduration = "400ms"\noutage = "300ms"\n'
    )
    loaded = small(
        tmp_path,
        'fleet.core2.reconnect.first="100ms"',
        'fleet.core2.reconnect.most="200ms"',
        'stage.calm.duration="1s"',
        broker="mosquitto",
        text=text,
    )
    report = await run(loaded, tmp_path / "run")
    (fleet,) = report.fleets
    assert sum(outcomes(fleet, Phase.SESSION).values()) == 10
    assert outcomes(fleet, Phase.CONNECT)["ok"] == 20
    assert outcomes(fleet, Phase.TCP_CONNECT).get("refused", 0) > 0
    assert report.thresholds[1].measured == 100  # and all are back
    kept = (tmp_path / "run" / "failures.jsonl").read_text().splitlines()
    assert len(kept) == report.thresholds[0].measured
    assert not children()


async def test_stopped_by_the_user(tmp_path: Path) -> None:
    witness = Witness()
    with Coordinator(small(tmp_path, LASTING), tmp_path / "run", witness) as coordinator:
        witness.on["connected"] = coordinator.stop
        report = await coordinator.run()
    assert (report.conclusion, report.exit_code) == (Conclusion.INTERRUPTED, 130)
    assert [step for step in witness.steps if step != "connected"][-2:] == ["stopping", "finished"]
    assert witness.steps[-1] == "finished"
    assert report.failures == ()  # every device said goodbye in order
    assert outcomes(report.fleets[0], Phase.CONNECT)["ok"] > 0
    assert summarize(read(tmp_path / "run")).to_json() == report.to_json()
    assert not children()


async def test_stopped_before_the_first_device(tmp_path: Path) -> None:
    witness = Witness()
    with Coordinator(small(tmp_path, LASTING), tmp_path / "run", witness) as coordinator:
        witness.on["broker"] = coordinator.stop
        report = await coordinator.run()
    assert report.exit_code == 130
    assert report.fleets[0].phases == ()
    assert not children()


async def test_ended_at_once_it_keeps_what_it_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = asyncio.current_task()
    assert task is not None
    witness = Witness(connected=task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await run(small(tmp_path, LASTING), tmp_path / "run", witness)
    task.uncancel()
    tally = read(tmp_path / "run")
    assert tally.run.status is RunStatus.INTERRUPTED
    assert tally.totals.outcomes(phase=Phase.CONNECT)["ok"] > 0
    assert {path.name for path in (tmp_path / "run").iterdir()} == FILES
    assert not children()
    assert capsys.readouterr().err == ""


async def test_a_broker_that_dies_ends_the_run(tmp_path: Path) -> None:
    def kill_the_broker() -> None:
        children()[-1].kill()

    witness = Witness(connected=kill_the_broker)
    report = await run(small(tmp_path, LASTING), tmp_path / "run", witness)
    assert (report.conclusion, report.exit_code) == (Conclusion.INCOMPLETE, 3)
    assert "ended by itself" in report.reason
    assert read(tmp_path / "run").run.status is RunStatus.FAILED
    assert not children()


async def test_a_broker_that_cannot_come_back_ends_the_run(tmp_path: Path) -> None:
    require("mosquitto")
    text = SMALL.replace('reconnect = { fleet = "core2", share = 0.5, within = "100ms" }', "").replace(
        'name = "storm"\n', 'name = "storm"\nduration = "60s"\noutage = "400ms"\n'
    )
    server: list[asyncio.Server] = []
    witness = Witness()
    loaded = small(tmp_path, broker="mosquitto", text=text)
    with Coordinator(loaded, tmp_path / "run", witness) as coordinator:
        running = asyncio.create_task(coordinator.run(), name="run")
        while not running.done() and not server:
            await asyncio.sleep(0)
            server += await taken(witness)
        report = await running
    for each in server:
        each.close()
        await each.wait_closed()
    assert report.conclusion is Conclusion.INCOMPLETE
    assert "taken by another program" in report.reason


async def taken(witness: Witness) -> list[asyncio.Server]:
    """Listen where the broker listened, as soon as it is away."""
    if not witness.descriptions:
        return []
    port = int(witness.descriptions[0].split(":")[1].split(",")[0])
    try:
        return [await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", port)]
    except OSError:
        return []


async def test_a_folder_that_can_no_longer_be_written_ends_the_run_and_still_reports(tmp_path: Path) -> None:
    """Files may not grow, as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    witness = Witness(started=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2048, limits[1])))
    try:
        with Coordinator(small(tmp_path, LASTING), tmp_path / "run", witness) as coordinator:
            report = await coordinator.run()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "cannot write" in coordinator.trouble
    assert outcomes(report.fleets[0], Phase.CONNECT)["ok"] > 0
    assert not children()


async def test_nothing_listens(tmp_path: Path) -> None:
    with pytest.raises(BrokerUnreachableError, match=r"127\.0\.0\.1:1: Connection refused"):
        await run(small(tmp_path, broker="127.0.0.1:1"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_broker_that_is_not_there_is_told_before_anything_is_issued(tmp_path: Path) -> None:
    witness, loaded = Witness(), small(tmp_path, broker="127.0.0.1:1")
    with pytest.raises(BrokerUnreachableError), Coordinator(loaded, tmp_path / "run", witness):
        pass
    assert witness.steps == []
    assert not (tmp_path / "run").exists()


def test_dead_endpoints_among_others_are_warned_of_before_anything_is_issued(tmp_path: Path) -> None:
    witness = Witness()
    with Listener() as listener:
        loaded = small(tmp_path, broker=f"127.0.0.1:1,{listener.endpoint}")
        with Coordinator(loaded, tmp_path / "run", witness):
            pass
    assert witness.steps[:2] == ["warning", "issuing core2 0/10"]
    (warning,) = witness.warnings
    assert warning.endswith("127.0.0.1:1: Connection refused")


async def test_every_connect_refused_is_unreachable(tmp_path: Path) -> None:
    """The broker answered when it was looked for, and never again."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        witness = Witness(started=server.close)
        report = await run(small(tmp_path, *SHORT, broker=f"127.0.0.1:{port}"), tmp_path / "run", witness)
    assert (report.conclusion, report.exit_code) == (Conclusion.UNREACHABLE, 4)
    assert {each.outcome for each in report.failures} == {"refused"}


def test_a_missing_mosquitto_is_told_before_anything_is_issued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(mosquitto, "_PLACES", str(tmp_path))
    witness = Witness()
    loaded = small(tmp_path, broker="mosquitto")
    with (
        pytest.raises(BrokerError, match="apt-get install mosquitto"),
        Coordinator(loaded, tmp_path / "run", witness),
    ):
        pass
    assert witness.steps == []
    assert not (tmp_path / "run").exists()


def test_a_folder_in_use_is_told_before_anything_is_issued(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine").touch()
    witness = Witness()
    with (
        pytest.raises(RunFolderError, match="is not empty"),
        Coordinator(small(tmp_path), tmp_path / "run", witness),
    ):
        pass
    assert witness.steps == []
    assert (tmp_path / "run" / "mine").exists()


def test_an_empty_folder_is_taken_away_only_where_it_was_made(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    for name in ("theirs", "ours"):
        with made_folder(tmp_path / name):
            assert (tmp_path / name).is_dir()
    assert (tmp_path / "theirs").is_dir()
    assert not (tmp_path / "ours").exists()
    with made_folder(tmp_path / "ours"):
        (tmp_path / "ours" / "run.json").touch()
    assert (tmp_path / "ours" / "run.json").exists()


def test_the_first_error_of_a_group_is_told() -> None:
    inner = BrokerError("first")
    group = BaseExceptionGroup("outer", [BaseExceptionGroup("inner", [inner, ValueError()]), KeyError()])
    assert first_of(group) is inner


def test_the_versions_are_those_that_speak_tls() -> None:
    found = versions()
    assert set(found) == {"simulator", "python", "openssl", "uvloop"}
    assert found["openssl"][0].isdigit()


async def test_the_same_seed_is_the_same_load_and_another_seed_another(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who reconnects is what mosquitto saw: whoever came twice."""
    require("mosquitto")
    talkative = mosquitto._CONFIGURATION.replace("connection_messages false", "log_type notice")
    monkeypatch.setattr(mosquitto, "_CONFIGURATION", talkative)
    seen = []
    for number, seed in enumerate((7, 7, 8)):
        caplog.clear()
        loaded = small(tmp_path, f"seed={seed}", broker="mosquitto")
        with caplog.at_level("INFO", logger="simulator.brokers"):
            report = await run(loaded, tmp_path / f"run{number}")
        names = [line.partition(" as ")[2].split()[0] for line in caplog.messages if "New client" in line]
        twice = {name for name in names if names.count(name) == 2}
        seen.append((twice, [(each.due, each.of) for each in report.fleets[0].arrivals[:1]]))
    assert seen[0] == seen[1]
    assert len(seen[0][0]) == 5
    assert seen[2][1] == seen[0][1]  # as many
    assert seen[2][0] != seen[0][0]  # but others


def test_its_signals_are_left_alone() -> None:
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
