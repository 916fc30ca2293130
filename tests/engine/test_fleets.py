from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from simulator.engine.fleets import Fleets
from simulator.errors import FleetError
from simulator.identity.authority import Authority
from simulator.identity.store import FleetStore
from tests.engine.scenarios import small
from tests.engine.watching import Witness

if TYPE_CHECKING:
    from pathlib import Path

TWO = """\
title = "Two fleets"
[fleet.a]
devices = 2
[fleet.b]
devices = 3
key = "ed25519"
[[stage]]
name = "first"
connect = { fleet = "a", rate = "50/s" }
[[stage]]
name = "second"
connect = { fleet = "b", rate = "50/s" }
"""


def imported(path: Path, devices: int, *, rooted: bool = True) -> Authority:
    """Make a fleet of credentials from elsewhere, without an authority."""
    authority = Authority.create("Elsewhere")
    with FleetStore.create(path) as store:
        store.add_many([(f"d{number}", authority.issue_device(f"d{number}")) for number in range(devices)])
        if rooted:
            store.add_trust_anchor(authority.root)
    return authority


def test_a_fleet_without_a_store_is_issued_in_memory_and_leaves_no_file(tmp_path: Path) -> None:
    loaded, witness = small(tmp_path, text=TWO), Witness()
    with Fleets(loaded, witness) as fleets:
        assert witness.steps == []
        fleets.issue()
        members = fleets.members()
        assert len(fleets.trust_anchors) == 2
    assert [name for name, _ in members["a"]] == ["a-00001", "a-00002"]
    assert [name for name, _ in members["b"]] == ["b-00001", "b-00002", "b-00003"]
    assert witness.steps == ["issuing a 0/2", "issuing a 2/2", "issuing b 0/3", "issuing b 3/3"]
    assert [path.name for path in tmp_path.iterdir()] == ["small.toml"]


def test_a_store_is_made_where_it_is_missing_and_kept(tmp_path: Path) -> None:
    loaded = small(tmp_path, 'fleet.core2.store="core2.fleet"')
    path = loaded.resolve("core2.fleet")
    with Fleets(loaded, Witness()) as fleets:
        fleets.issue()
        first = fleets.members()
    assert path.stat().st_mode & 0o777 == 0o600
    again = Witness()
    with Fleets(loaded, again) as fleets:
        fleets.issue()
        assert fleets.members() == first
    assert again.steps == []


def test_a_store_with_an_authority_is_filled_up(tmp_path: Path) -> None:
    loaded = small(tmp_path, 'fleet.core2.store="core2.fleet"')
    with FleetStore.create(loaded.resolve("core2.fleet"), Authority.create("Acme")) as store:
        store.issue(4, prefix="core2-")
    witness = Witness()
    with Fleets(loaded, witness) as fleets:
        fleets.issue()
        assert len(fleets.members()["core2"]) == 10
    assert witness.steps[0] == f"issuing core2, to be kept in {loaded.resolve('core2.fleet')} 0/6"


def test_an_imported_store_with_enough_devices_is_taken_as_it_is(tmp_path: Path) -> None:
    loaded = small(tmp_path, 'fleet.core2.store="core2.fleet"')
    authority = imported(loaded.resolve("core2.fleet"), 12)
    with Fleets(loaded, Witness()) as fleets:
        fleets.issue()
        assert len(fleets.members()["core2"]) == 10
        assert fleets.trust_anchors == (authority.root,)


def test_an_imported_store_with_too_few_devices_is_told_in_numbers(tmp_path: Path) -> None:
    loaded = small(tmp_path, 'fleet.core2.store="core2.fleet"')
    imported(loaded.resolve("core2.fleet"), 4)
    with Fleets(loaded, Witness()) as fleets, pytest.raises(FleetError) as raised:
        fleets.issue()
    sentence = str(raised.value)
    assert "core2.fleet holds 4 active devices" in sentence
    assert "core2 wants 10" in sentence
    assert "\n" not in sentence


@pytest.mark.parametrize("broker", ["embedded", "mosquitto"])
def test_a_store_without_its_root_is_refused_before_a_broker_refuses_it(tmp_path: Path, broker: str) -> None:
    loaded = small(tmp_path, 'fleet.core2.store="core2.fleet"', broker=broker)
    imported(loaded.resolve("core2.fleet"), 10, rooted=False)
    with (
        Fleets(loaded, Witness()) as fleets,
        pytest.raises(FleetError, match="without the root that vouches"),
    ):
        fleets.issue()


def test_a_broker_from_elsewhere_may_know_the_root_that_is_not_here(tmp_path: Path) -> None:
    loaded = small(tmp_path, 'fleet.core2.store="core2.fleet"', broker="127.0.0.1:8883")
    imported(loaded.resolve("core2.fleet"), 10, rooted=False)
    with Fleets(loaded, Witness()) as fleets:
        fleets.issue()
        assert len(fleets.members()["core2"]) == 10


def test_two_fleets_cannot_be_the_same_devices(tmp_path: Path) -> None:
    loaded = small(tmp_path, 'fleet.a.store="x.fleet"', 'fleet.b.store="./x.fleet"', text=TWO)
    with pytest.raises(FleetError, match="a and b both take their devices from"), Fleets(loaded, Witness()):
        pass


def test_the_same_authority_is_trusted_once(tmp_path: Path) -> None:
    loaded = small(tmp_path, 'fleet.a.store="a.fleet"', 'fleet.b.store="b.fleet"', text=TWO)
    authority = Authority.create("Acme")
    for name in ("a.fleet", "b.fleet"):
        FleetStore.create(loaded.resolve(name), authority).close()
    with Fleets(loaded, Witness()) as fleets:
        assert fleets.trust_anchors == (authority.root,)


def test_a_file_that_is_no_fleet_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no fleet")
    loaded = small(tmp_path, 'fleet.core2.store="notes.txt"')
    with pytest.raises(FleetError, match="is not a fleet file"), Fleets(loaded, Witness()):
        pass
