from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from simulator import clock
from simulator.errors import FleetError
from simulator.identity.authority import Authority
from simulator.identity.keys import decode
from simulator.identity.record import Reason, Status
from simulator.identity.store import FleetStore
from simulator.scenario.kinds import KeyKind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ISSUE = """
import sys
from pathlib import Path
from simulator.identity.store import FleetStore
with FleetStore.open(Path(sys.argv[1])) as fleet:
    print("ready", flush=True)
    sys.stdin.readline()
    fleet.issue(int(sys.argv[2]), prefix="core2-", progress=lambda kept: print(kept, flush=True))
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "core2.fleet"


@pytest.fixture
def fleet(authority: Authority) -> Iterator[FleetStore]:
    with FleetStore.in_memory(authority) as store:
        yield store


def names(fleet: FleetStore) -> list[str]:
    return [device for device, _ in fleet.credentials()]


def states(fleet: FleetStore, device: str) -> list[tuple[int, Status]]:
    return [(row.generation, row.status) for row in fleet.devices() if row.device == device]


# Issuing


def test_a_fleet_is_kept_with_its_authority(path: Path, authority: Authority) -> None:
    with FleetStore.create(path, authority) as made:
        made.issue(3, prefix="core2-")
        before = made.credentials()
    with FleetStore.open(path) as again:
        assert again.credentials() == before
        assert [device for device, _ in before] == ["core2-00001", "core2-00002", "core2-00003"]
        assert again.trust_anchors == (authority.root,)
        again.issue(1, prefix="core2-")
        assert again.credential("core2-00004").chain == (authority.issuing,)


def test_each_device_has_a_certificate_and_key_that_belong_together(fleet: FleetStore) -> None:
    fleet.issue(20)
    for device, credential in fleet.credentials():
        leaf = credential.x509()
        assert decode(credential.key).public_key() == leaf.public_key()
        assert leaf.subject.rfc4514_string() == f"CN={device}"


def test_devices_of_one_issuer_share_one_chain(fleet: FleetStore) -> None:
    fleet.issue(5)
    assert len({id(credential.chain) for _, credential in fleet.credentials()}) == 1


def test_named_devices_of_any_kind_and_validity(fleet: FleetStore) -> None:
    fleet.issue(["thermostat", "doorbell"], key=KeyKind.ED25519, validity=timedelta(seconds=30))
    assert names(fleet) == ["doorbell", "thermostat"]
    assert fleet.credential("doorbell").not_after <= clock.wall() + timedelta(seconds=31)


def test_progress_is_what_is_safely_kept(fleet: FleetStore) -> None:
    seen: list[tuple[int, int]] = []
    fleet.issue(1100, progress=lambda kept: seen.append((kept, fleet.summary().devices)))
    assert all(told == kept for told, kept in seen)
    assert seen[-1] == (1100, 1100)
    assert len(seen) >= 3


def test_numbers_go_on_for_each_prefix(fleet: FleetStore) -> None:
    fleet.issue(2, prefix="a-")
    fleet.issue(1, prefix="b-")
    fleet.issue(1, prefix="a-")
    assert names(fleet) == ["a-00001", "a-00002", "a-00003", "b-00001"]


def test_numbers_go_on_after_devices_that_were_named_by_somebody_else(
    fleet: FleetStore, authority: Authority
) -> None:
    for device in ("a-00007", "a-x9", "a-", "aa-00099"):
        fleet.add(device, authority.issue_device(device))
    fleet.issue(1, prefix="a-")
    assert "a-00008" in names(fleet)


def test_an_interruption_keeps_whole_batches_and_gives_the_other_numbers_back(fleet: FleetStore) -> None:
    def interrupt(kept: int) -> None:
        if kept >= 500:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fleet.issue(2000, prefix="a-", progress=interrupt)
    kept = names(fleet)
    assert 500 <= len(kept) < 2000
    fleet.issue(1, prefix="a-")
    assert names(fleet) == [*kept, f"a-{len(kept) + 1:05d}"]


@pytest.mark.parametrize("count", [0, -1])
def test_nothing_cannot_be_issued(fleet: FleetStore, count: int) -> None:
    with pytest.raises(FleetError, match="one device at least"):
        fleet.issue(count)


def test_a_name_that_is_taken_is_refused_before_anything_is_issued(fleet: FleetStore) -> None:
    fleet.issue(["b"])
    with pytest.raises(FleetError, match="already holds 1 of these devices, such as 'b'"):
        fleet.issue(["a", "b"])
    assert names(fleet) == ["b"]


def test_a_fleet_without_authority_issues_nothing() -> None:
    with FleetStore.in_memory() as fleet:
        assert fleet.authority is None
        assert fleet.trust_anchors == ()
        with pytest.raises(FleetError, match="holds no authority"):
            fleet.issue(1)


# Generations


def test_a_new_generation_supersedes_the_one_before(fleet: FleetStore, authority: Authority) -> None:
    fleet.issue(["a", "b"])
    renewed = authority.issue_device("a")
    fleet.add("a", renewed)
    assert states(fleet, "a") == [(1, Status.SUPERSEDED), (2, Status.ACTIVE)]
    assert fleet.credential("a") == renewed
    assert states(fleet, "b") == [(1, Status.ACTIVE)]


def test_generations_may_skip_but_not_go_back(fleet: FleetStore, authority: Authority) -> None:
    fleet.add("a", authority.issue_device("a"), generation=4)
    with pytest.raises(FleetError, match="at generation 4 already, so 4 cannot be added"):
        fleet.add("a", authority.issue_device("a"), generation=4)
    assert states(fleet, "a") == [(4, Status.ACTIVE)]


def test_a_revoked_device_has_no_credential_until_it_gets_a_new_one(
    fleet: FleetStore, authority: Authority
) -> None:
    fleet.issue(["a", "b"])
    fleet.revoke("a")
    assert names(fleet) == ["b"]
    with pytest.raises(FleetError, match="no active credential of 'a'"):
        fleet.credential("a")
    fleet.add("a", authority.issue_device("a"))
    assert states(fleet, "a") == [(1, Status.REVOKED), (2, Status.ACTIVE)]


def test_a_superseded_generation_can_be_revoked(fleet: FleetStore, authority: Authority) -> None:
    fleet.issue(["a"])
    fleet.add("a", authority.issue_device("a"))
    fleet.revoke("a", generation=1)
    assert states(fleet, "a") == [(1, Status.REVOKED), (2, Status.ACTIVE)]


def test_the_first_date_and_reason_of_a_revocation_stand(fleet: FleetStore) -> None:
    fleet.issue(["a"])
    assert fleet.revoke("a", reason=Reason.KEY_COMPROMISE) is True
    (first,) = fleet.devices()
    assert fleet.revoke("a", reason=Reason.SUPERSEDED) is False
    assert fleet.revoke("a", generation=1) is False
    assert list(fleet.devices()) == [first]
    assert first.revocation is not None
    assert first.revocation.reason is Reason.KEY_COMPROMISE
    assert abs(first.revocation.at - clock.wall()) < timedelta(seconds=10)


def test_many_are_revoked_all_or_none(fleet: FleetStore) -> None:
    fleet.issue(["a", "b", "c"])
    fleet.revoke("b")
    with pytest.raises(FleetError, match="holds no certificate of 'x' that could be revoked"):
        fleet.revoke_many(["a", "x"])
    assert fleet.names() == ["a", "c"]
    assert fleet.revoke_many(["a", "b", "c", "a"]) == ["a", "c"]
    assert fleet.names(Status.REVOKED) == ["a", "b", "c"]


def test_a_device_counts_by_its_latest_credential(fleet: FleetStore, authority: Authority) -> None:
    fleet.issue(["a", "b", "c"])
    revoked = fleet.credential("b")
    fleet.revoke_many(["a", "b"])
    fleet.add("a", authority.issue_device("a"))
    assert fleet.names() == ["a", "c"]
    assert fleet.credentials(status=Status.REVOKED) == [("b", revoked)]
    assert fleet.names(Status.SUPERSEDED) == []
    assert fleet.names(limit=1) == ["a"]


@pytest.mark.parametrize(("device", "generation"), [("b", None), ("a", 2)])
def test_what_is_not_there_cannot_be_revoked(fleet: FleetStore, device: str, generation: int | None) -> None:
    fleet.issue(["a"])
    with pytest.raises(FleetError, match="that could be revoked"):
        fleet.revoke(device, generation=generation)


def test_one_certificate_is_not_for_two_devices_and_all_or_none_are_added(
    fleet: FleetStore, authority: Authority
) -> None:
    one, other = authority.issue_device("a"), authority.issue_device("b")
    with pytest.raises(FleetError, match="already holds the certificate of 'c'"):
        fleet.add_many([("a", one), ("b", other), ("c", one)])
    assert names(fleet) == []


def test_a_name_that_no_device_can_have_is_not_added(fleet: FleetStore, authority: Authority) -> None:
    with pytest.raises(FleetError, match="topics"):
        fleet.add("a/b", authority.issue_device("a"))


def test_chains_of_several_authorities_and_none(fleet: FleetStore, authority: Authority) -> None:
    other = Authority.create("Other")
    self_signed = authority.root_credential
    fleet.add("a", other.issue_device("a"))
    fleet.add("b", authority.issue_device("b"))
    fleet.add("c", self_signed)
    assert [one.chain for _, one in fleet.credentials()] == [(other.issuing,), (authority.issuing,), ()]


# Telling


def test_credentials_are_the_active_ones_in_order_and_can_be_limited(fleet: FleetStore) -> None:
    fleet.issue(["c", "a", "b"])
    assert names(fleet) == ["a", "b", "c"]
    assert [device for device, _ in fleet.credentials(limit=2)] == ["a", "b"]


def test_records_tell_everything_but_the_key(fleet: FleetStore, authority: Authority) -> None:
    fleet.issue(["a", "b"])
    fleet.add("a", authority.issue_device("a"))
    first, second, third = fleet.devices()
    assert [(row.device, row.generation) for row in (first, second, third)] == [("a", 1), ("a", 2), ("b", 1)]
    credential = fleet.credential("a")
    assert second.fingerprint == credential.fingerprint
    assert second.serial_number == credential.serial_number
    assert (second.not_before, second.not_after) == (credential.not_before, credential.not_after)
    assert [row.generation for row in fleet.devices(Status.SUPERSEDED)] == [1]
    assert len(list(fleet.devices(limit=1))) == 1


def test_trust_anchors_are_kept_once(fleet: FleetStore, authority: Authority) -> None:
    other = Authority.create("Other")
    for _ in range(2):
        fleet.add_trust_anchor(other.root)
    assert fleet.trust_anchors == (authority.root, other.root)


def test_a_summary(fleet: FleetStore) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    authority = fleet.authority
    assert authority is not None
    for device, days in (("a", 1), ("b", 2), ("c", 3)):
        fleet.add(device, authority.issue_device(device, validity=timedelta(days=days), not_before=start))
    fleet.issue(["d"])
    fleet.revoke("a")
    summary = fleet.summary()
    assert (summary.authority, summary.devices, summary.trust_anchors) == ("Acme", 4, 1)
    assert summary.certificates == {Status.ACTIVE: 3, Status.SUPERSEDED: 0, Status.REVOKED: 1}
    assert summary.reasons == {Reason.UNSPECIFIED: 1}
    assert (summary.protected, summary.self_signed) == (False, 0)
    assert summary.expired == 2
    assert summary.first_expiry == start + timedelta(days=2)
    assert summary.last_expiry == fleet.credential("d").not_after


def test_a_summary_of_nothing() -> None:
    with FleetStore.in_memory() as fleet:
        summary = fleet.summary()
    assert (summary.authority, summary.devices, summary.expired) == (None, 0, 0)
    assert summary.first_expiry is summary.last_expiry is None


def test_what_is_shown_names_the_file(path: Path, fleet: FleetStore) -> None:
    with FleetStore.create(path) as store:
        assert repr(store) == f"<FleetStore {path}>"
    assert repr(fleet) == "<FleetStore in memory>"


def test_a_closed_fleet_says_so(path: Path) -> None:
    with FleetStore.create(path) as store:
        store.close()
    with pytest.raises(FleetError, match=r"core2\.fleet: Cannot operate on a closed database"):
        store.summary()


def test_a_damaged_row_is_not_accepted(path: Path, authority: Authority) -> None:
    with FleetStore.create(path, authority) as store:
        store.issue(200)
    raw = bytearray(path.read_bytes())
    raw[8192:] = bytes(len(raw) - 8192)
    path.write_bytes(raw)
    with FleetStore.open(path) as store, pytest.raises(FleetError, match="malformed"):
        list(store.devices())


# Several processes


def issuing(path: Path, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", ISSUE, str(path), str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_two_processes_issue_into_one_file_at_once(path: Path, authority: Authority) -> None:
    FleetStore.create(path, authority).close()
    with issuing(path, 800) as one, issuing(path, 900) as other:
        for process in (one, other):
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in (one, other):
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        for process in (one, other):
            process.communicate()
    assert (one.returncode, other.returncode) == (0, 0)
    with FleetStore.open(path) as fleet:
        assert names(fleet) == [f"core2-{number:05d}" for number in range(1, 1701)]
        assert len({credential.fingerprint for _, credential in fleet.credentials()}) == 1700


def test_a_killed_process_leaves_whole_rows_only(path: Path, authority: Authority) -> None:
    FleetStore.create(path, authority).close()
    with issuing(path, 100_000) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "ready\n"
        told = [int(process.stdout.readline()) for _ in range(2)][-1]
        process.kill()
    with FleetStore.open(path) as fleet:
        kept = fleet.credentials()
        assert told <= len(kept) < 100_000
        for device, credential in kept:
            assert credential.x509().subject.rfc4514_string() == f"CN={device}"
            assert decode(credential.key).public_key() == credential.x509().public_key()
        fleet.issue(1, prefix="core2-")
        assert len(fleet.credentials()) == len(kept) + 1
