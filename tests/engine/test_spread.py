"""A run on several brokers, from several source addresses: each has its share, and all share one fate."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

import psutil
import pytest

from simulator.brokers import mosquitto
from simulator.engine.coordinator import Coordinator
from simulator.errors import UsageError
from simulator.metrics.sample import Phase
from simulator.report.conclusion import Conclusion
from simulator.scenario.loader import load
from tests.engine.scenarios import small
from tests.engine.watching import Witness
from tests.support.command import SMALL
from tests.support.tools import require

if TYPE_CHECKING:
    from pathlib import Path

    from simulator.report.figures import Report
    from simulator.scenario.loader import LoadedScenario

SPREAD = ("broker.count=3", 'link.source=["127.0.0.2-127.0.0.3"]', "fleet.core2.devices=30")


@pytest.fixture(autouse=True)
def _talkative(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each mosquitto say who connects, and put its own port where the time of a line would be."""
    require("mosquitto")
    talkative = mosquitto._CONFIGURATION.replace("connection_messages false", "log_type notice").replace(
        "log_timestamp false", "log_timestamp_format {port}"
    )
    monkeypatch.setattr(mosquitto, "_CONFIGURATION", talkative)


async def run(loaded: LoadedScenario, out: Path, witness: Witness | None = None) -> Report:
    with Coordinator(loaded, out, witness or Witness()) as coordinator:
        return await coordinator.run()


def connects(lines: list[str]) -> Counter[tuple[str, str, str]]:
    """Return how often each device connected: to which broker, and from which address."""
    pattern = re.compile(r"(\d+): New client connected from ([\d.]+):\d+ as (\S+) ")
    return Counter((found[1], found[2], found[3]) for line in lines if (found := pattern.match(line)))


async def test_each_broker_and_each_address_has_as_many_devices_and_keeps_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger="simulator.brokers"):
        report = await run(small(tmp_path, *SPREAD, broker="mosquitto"), tmp_path / "run")
    assert report.failures == ()
    seen = connects(caplog.messages)
    assert len(seen) == 30
    assert seen.total() > 40  # half of them once more, where none is so slow that it is still on its way
    pairs = Counter((port, address) for port, address, _ in seen)
    assert {address for _, address in pairs} == {"127.0.0.2", "127.0.0.3"}
    assert len({port for port, _ in pairs}) == 3
    assert set(pairs.values()) == {5}


async def test_an_outage_takes_all_brokers_away(tmp_path: Path) -> None:
    text = SMALL.replace('reconnect = { fleet = "core2", share = 0.5, within = "100ms" }', "").replace(
        'name = "storm"\n', 'name = "storm"\nduration = "400ms"\noutage = "300ms"\n'
    )
    back = ('fleet.core2.reconnect.first="100ms"', 'fleet.core2.reconnect.most="200ms"')
    loaded = small(tmp_path, *SPREAD, *back, 'stage.calm.duration="1s"', broker="mosquitto", text=text)
    report = await run(loaded, tmp_path / "run")
    (fleet,) = report.fleets
    ended = next(each for each in fleet.phases if each.phase is Phase.SESSION)
    assert sum(ended.outcomes.values()) == 30
    assert report.thresholds[1].measured == 100  # and all are back


async def test_a_revocation_reaches_all_brokers(tmp_path: Path) -> None:
    text = SMALL.replace('name = "steady"\n', 'name = "steady"\nrevoke = { fleet = "core2", share = 0.5 }\n')
    loaded = small(tmp_path, *SPREAD, "stage.storm.reconnect.share=1", broker="mosquitto", text=text)
    report = await run(loaded, tmp_path / "run")
    refused = {each.outcome: each.count for each in report.failures}
    assert refused["certificate_revoked"] >= 15


async def test_one_broker_that_dies_ends_the_run(tmp_path: Path) -> None:
    def kill_one() -> None:
        victims = [each for each in psutil.Process().children(recursive=True) if each.name() == "mosquitto"]
        assert len(victims) == 3
        victims[1].kill()

    loaded = small(tmp_path, *SPREAD, 'stage.steady.duration="60s"', broker="mosquitto")
    report = await run(loaded, tmp_path / "run", Witness(connected=kill_one))
    assert (report.conclusion, report.exit_code) == (Conclusion.INCOMPLETE, 3)
    assert "ended by itself" in report.reason


@pytest.mark.parametrize("name", ["nineteen-thousand", "sixty-thousand"])
async def test_the_large_scenarios_run_small(tmp_path: Path, name: str) -> None:
    small_scale = (
        "fleet.meter.devices=80",
        'fleet.meter.telemetry.every="200ms"',
        'stage.arrival.connect.rate="100/s"',
        'stage.held.duration="500ms"',
        'limits.lag="10s"',
    )
    report = await run(load(name, overrides=small_scale), tmp_path / "run")
    (fleet,) = report.fleets
    connected = next(each for each in fleet.phases if each.phase is Phase.CONNECT)
    assert connected.outcomes == {"ok": 80}
    assert report.failures == ()
    assert len(report.thresholds) == 4


def test_what_the_machine_has_not_is_told_before_anything_is_issued(tmp_path: Path) -> None:
    witness = Witness()
    loaded = small(tmp_path, 'link.source=["192.0.2.7"]', broker="mosquitto")
    with pytest.raises(UsageError, match=r"192\.0\.2\.7 is not an address of this machine"):
        Coordinator(loaded, tmp_path / "run", witness).__enter__()
    assert witness.steps == []
