"""Runs in which devices are revoked, or vouch for themselves: what becomes of them, by name."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from simulator.engine.coordinator import Coordinator
from simulator.engine.fleets import Fleets
from simulator.errors import BrokerError, FleetError, ScenarioError
from simulator.identity.authority import Authority
from simulator.identity.record import Status
from simulator.identity.store import FleetStore
from simulator.identity.vault import WrongPassphraseError
from simulator.report.conclusion import Conclusion
from tests.engine.scenarios import small
from tests.engine.watching import Witness
from tests.support.tools import require

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from simulator.report.figures import Report
    from simulator.scenario.loader import LoadedScenario

SCENARIO = """\
title = "Some devices are revoked, and more of them during the run"
seed = 3
[limits]
lag = "10s" # a busy test machine must not make the run not count
[fleet.core2]
devices = 40
revoked = 0.05
reconnect = { enabled = false }
[[stage]]
name = "ramp"
duration = "1s"
connect = { fleet = "core2", rate = "400/s" }
[[stage]]
name = "revoked"
duration = "400ms"
revoke = { fleet = "core2", share = 0.25 }
[[stage]]
name = "again"
reconnect = { fleet = "core2", within = "200ms" }
"""
"""Two devices are refused at first; ten more when they come again, and the two once more.

The ramp lasts until all have connected: who is in a handshake when the list comes is judged by either.
"""

SELF_SIGNED = """\
title = "Every device vouches for itself"
[limits]
lag = "10s"
[fleet.own]
devices = 20
certificates = "self-signed"
revoked = 0.1
reconnect = { enabled = false }
[[stage]]
name = "ramp"
connect = { fleet = "own", rate = "400/s" }
"""
STORE = 'fleet.core2.store="core2.fleet"'

kinds = pytest.mark.parametrize("kind", ["embedded", "mosquitto"])


async def run(loaded: LoadedScenario, out: Path, witness: Witness | None = None) -> Report:
    with Coordinator(loaded, out, witness or Witness()) as coordinator:
        return await coordinator.run()


def failures(run: Path) -> Counter[tuple[str, str]]:
    """Count what failed, by stage and outcome."""
    lines = (run / "failures.jsonl").read_text().splitlines()
    return Counter((one["stage"], one["outcome"]) for one in map(json.loads, lines))


def revoked(path: Path) -> list[str]:
    with FleetStore.open(path) as fleet:
        return fleet.names(Status.REVOKED)


@kinds
@pytest.mark.parametrize("version", ["1.2", "1.3"])
async def test_revoked_devices_are_refused_by_name_and_established_sessions_live_on(
    kind: str, version: str, tmp_path: Path
) -> None:
    if kind == "mosquitto":
        require("mosquitto")
    witness = Witness()
    loaded = small(tmp_path, f'fleet.core2.tls="{version}"', text=SCENARIO, broker=kind)
    report = await run(loaded, tmp_path / "run", witness)
    assert report.conclusion is Conclusion.MET
    assert witness.descriptions[0].endswith("revocation lists checked")
    found = failures(tmp_path / "run")
    assert {outcome for _, outcome in found} == {"certificate_revoked"}
    assert found["ramp", "certificate_revoked"] == 2
    assert found["revoked", "certificate_revoked"] == 0
    assert found["again", "certificate_revoked"] == 12
    _, during, _ = report.stages
    assert (during.connected["core2"].connected, during.connected["core2"].devices) == (38, 40)


async def test_a_store_keeps_who_is_revoked_and_the_next_run_takes_the_same(tmp_path: Path) -> None:
    loaded = small(tmp_path, STORE, text=SCENARIO)
    for _ in range(2):
        with Fleets(loaded, Witness()) as fleets:
            fleets.issue()
            members = fleets.members()["core2"]
        kept = revoked(tmp_path / "core2.fleet")
        assert len(kept) == 2
        assert len(members) == 40
        assert {name for name, _ in members} > set(kept)
        with FleetStore.open(tmp_path / "core2.fleet") as store:
            assert len(store.names()) == 38
            assert set(store.credentials(status=Status.REVOKED)) < set(members)


def test_who_was_revoked_before_counts_and_the_rest_is_drawn(tmp_path: Path) -> None:
    path = tmp_path / "core2.fleet"
    with FleetStore.create(path, Authority.create("Acme")) as store:
        store.issue(60)
        store.revoke("device-00050")
    with Fleets(small(tmp_path, STORE, text=SCENARIO), Witness()) as fleets:
        fleets.issue()
        members = {name for name, _ in fleets.members()["core2"]}
    assert "device-00050" in members
    assert len(revoked(path)) == 2
    with Fleets(small(tmp_path, STORE, "fleet.core2.revoked=0", text=SCENARIO), Witness()) as fleets:
        fleets.issue()
        assert members.isdisjoint(revoked(path)) is False
        assert {name for name, _ in fleets.members()["core2"]}.isdisjoint(revoked(path))


def test_the_seed_draws_who_is_revoked(tmp_path: Path) -> None:
    drawn = []
    for number, seed in enumerate((3, 3, 4)):
        path = tmp_path / f"{number}.fleet"
        loaded = small(tmp_path, f"seed={seed}", f'fleet.core2.store="{path}"', text=SCENARIO)
        with Fleets(loaded, Witness()) as fleets:
            fleets.issue()
            fleets.members()
            fleets.revoke("core2", 0.25, "stage")
        drawn.append(revoked(path))
    assert len(drawn[0]) == 12
    assert drawn[0] == drawn[1] != drawn[2]


def test_each_share_is_drawn_among_those_that_are_left(tmp_path: Path) -> None:
    path = tmp_path / "core2.fleet"
    with FleetStore.create(path, Authority.create("Acme")) as store:
        store.issue(100)
    with Fleets(small(tmp_path, STORE, text=SCENARIO), Witness()) as fleets:
        fleets.issue()
        members = {name for name, _ in fleets.members()["core2"]}
        for expected in (22, 40, 40):
            assert len(fleets.revoke("core2", 0.5, "stage")) == 2
            assert len(revoked(path)) == expected
    assert set(revoked(path)) == members


def test_without_revocation_no_lists_are_signed(tmp_path: Path) -> None:
    with Fleets(small(tmp_path), Witness()) as fleets:
        fleets.issue()
        assert fleets.crls() == ()


@kinds
async def test_self_signed_devices_connect_and_those_that_are_revoked_are_unknown(
    kind: str, tmp_path: Path
) -> None:
    if kind == "mosquitto":
        require("mosquitto")
    await run(small(tmp_path, text=SELF_SIGNED, broker=kind), tmp_path / "run")
    found = failures(tmp_path / "run")
    assert {outcome for _, outcome in found} == {"unknown_ca"}
    assert found.total() == 2


def test_a_fleet_without_authority_has_no_list_that_could_revoke_it(tmp_path: Path) -> None:
    authority = Authority.create("Elsewhere")
    with FleetStore.create(tmp_path / "core2.fleet") as store:
        store.add_many((name, authority.issue_device(name)) for name in map("d{}".format, range(40)))
        store.add_trust_anchor(authority.root)
    with (
        pytest.raises(FleetError, match="holds no authority, so no list can revoke any of core2"),
        Coordinator(small(tmp_path, STORE, text=SCENARIO), tmp_path / "run", Witness()),
    ):
        raise AssertionError("it began")
    assert not (tmp_path / "run").exists()
    with FleetStore.open(tmp_path / "core2.fleet") as store:
        assert store.names(Status.REVOKED) == [], "what is revoked is revoked for good"


async def test_a_broker_that_takes_no_list_ends_the_run_with_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Coordinator(small(tmp_path, text=SCENARIO), tmp_path / "run", Witness()) as coordinator:

        async def refuse(crls: Sequence[bytes]) -> None:
            raise BrokerError(f"takes none of {len(crls)} lists")

        monkeypatch.setattr(coordinator._broker, "take_crls", refuse)
        report = await coordinator.run()
    assert report.conclusion is not Conclusion.MET
    assert "takes none of 2 lists" in report.reason


def test_a_protected_store_is_opened_by_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = small(tmp_path, STORE, "fleet.core2.devices=5", text=SCENARIO)
    monkeypatch.setenv("SIMULATOR_PASSPHRASE", "correct horse")
    for _ in range(2):
        with Fleets(loaded, Witness()) as fleets:
            fleets.issue()
            assert len(fleets.members()["core2"]) == 5
    with FleetStore.open(tmp_path / "core2.fleet") as store:
        assert store.is_protected
    monkeypatch.setenv("SIMULATOR_PASSPHRASE", "guess")
    with pytest.raises(WrongPassphraseError), Fleets(loaded, Witness()):
        raise AssertionError("it opened")


@pytest.mark.parametrize(
    ("change", "sentences"),
    [
        (
            ('broker.kind="external"', 'broker.endpoints=["localhost"]'),
            ["stage[1].revoke: an external broker takes revocation lists from its operator only"],
        ),
        (
            ('fleet.core2.certificates="self-signed"',),
            ["stage[1].revoke: no list revokes a self-signed certificate in a run"],
        ),
        (("fleet.core2.revoked=1.5",), ["fleet.core2.revoked=1.5: expected a share"]),
        (('fleet.core2.certificates="own"',), ['expected "issued" or "self-signed", not "own"']),
    ],
)
def test_what_cannot_be_revoked_is_said_before_the_run(
    change: tuple[str, ...], sentences: list[str], tmp_path: Path
) -> None:
    with pytest.raises(ScenarioError) as refused:
        small(tmp_path, *change, text=SCENARIO)
    for sentence in sentences:
        assert sentence in str(refused.value)


def test_lists_and_self_signed_certificates_do_not_go_together(tmp_path: Path) -> None:
    own = '[fleet.own]\ndevices = 1\ncertificates = "self-signed"\n'
    connects = '[[stage]]\nname = "own"\nconnect = { fleet = "own", rate = "1/s" }\n'
    with pytest.raises(ScenarioError) as refused:
        small(tmp_path, text=SCENARIO + own + connects)
    assert 'fleet.own.certificates: a broker that looks at revocation lists, as fleet "core2"' in str(
        refused.value
    )
    external = ('broker.kind="external"', 'broker.endpoints=["localhost"]')
    without = SCENARIO.replace('revoke = { fleet = "core2", share = 0.25 }\n', "")
    with Fleets(small(tmp_path, *external, text=without + own + connects), Witness()) as fleets:
        fleets.issue()
        assert fleets.crls() == ()


def test_a_stage_that_only_revokes_needs_a_duration(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="a stage with revoke needs a duration"):
        small(tmp_path, text=SCENARIO.replace('duration = "400ms"\n', ""))
