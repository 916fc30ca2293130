"""``simulator fleet revoke`` and ``crl``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from typer.testing import CliRunner

from simulator import clock
from simulator.cli.fleet import app
from simulator.errors import FleetError, UsageError
from simulator.identity import pem
from simulator.identity.record import Reason, Status
from simulator.identity.store import FleetStore

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "core2.fleet"
    fleet("create", path, "--devices", 40)
    return path


def fleet(*words: object) -> list[str]:
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def revoked(path: Path) -> list[str]:
    with FleetStore.open(path) as store:
        return store.names(Status.REVOKED)


def test_named_devices_are_revoked_with_a_reason_and_shown(path: Path) -> None:
    said = fleet("revoke", path, "device-00003", "device-00001", "--reason", "keycompromise")
    assert said == [f"revoked 2 devices of {path}"]
    assert revoked(path) == ["device-00001", "device-00003"]
    shown = dict(line.split(maxsplit=1) for line in fleet("show", path))
    assert shown["certificates"] == "38 active, 0 superseded, 2 revoked"
    assert shown["revoked"] == "2 keyCompromise"
    header, first, *_ = fleet("list", path, "--status", "revoked")
    assert header.split()[-1] == "REVOKED"
    assert first.endswith("(keyCompromise)")
    (row, _) = map(json.loads, fleet("list", path, "--status", "revoked", "--json"))
    assert row["revocation"]["reason"] == "keyCompromise"
    assert row["revocation"]["at"] <= clock.wall().strftime("%Y-%m-%dT%H:%M:%SZ")


def test_what_was_revoked_already_is_said_and_stays_as_it_was(path: Path) -> None:
    fleet("revoke", path, "device-00001", "--reason", Reason.SUPERSEDED)
    already, done = fleet("revoke", path, "device-00001", "device-00002", "--reason", "keyCompromise")
    assert already.startswith("generation 1 of device-00001 was revoked already, 20")
    assert already.endswith("Z (superseded)")
    assert done == f"revoked 1 device of {path}"


def test_one_generation_of_a_device(path: Path) -> None:
    with FleetStore.open(path) as store:
        assert store.authority is not None
        store.add("device-00001", store.authority.issue_device("device-00001"))
    fleet("revoke", path, "device-00001", "--generation", 1)
    assert "device-00001" not in revoked(path)
    with FleetStore.open(path) as store:
        assert [row.generation for row in store.devices(Status.REVOKED)] == [1]


@pytest.mark.parametrize("share", ["10%", "0.1"])
def test_a_share_is_drawn_by_the_seed(path: Path, tmp_path: Path, share: str) -> None:
    assert fleet("revoke", path, "--share", share, "--seed", 7) == [f"revoked 4 devices of {path}"]
    drawn = revoked(path)
    other = tmp_path / "other.fleet"
    fleet("create", other, "--devices", 40)
    fleet("revoke", other, "--share", share, "--seed", 7)
    assert revoked(other) == drawn
    fleet("revoke", path, "--share", share, "--seed", 7)
    assert len(revoked(path)) == 8


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "name the devices to revoke, or a --share"),
        (["device-00001", "--share", "5%"], "one of the two"),
        (["--share", "5%", "--generation", "1"], "leave out --generation"),
        (["--share", "120%"], "--share: expected a share"),
        (["--share", "many"], "--share: "),
        (["device-00001", "ghost"], "holds no certificate of 'ghost'"),
        (["device-00001", "--generation", "2"], "holds no generation 2 of 'device-00001'"),
    ],
)
def test_what_cannot_be_revoked_is_said_and_nothing_is(path: Path, words: list[str], sentence: str) -> None:
    with pytest.raises(UsageError) as refused:
        fleet("revoke", path, *words)
    assert sentence in str(refused.value)
    assert revoked(path) == []


def test_lists_go_to_a_file_in_the_place_of_older_ones(path: Path, tmp_path: Path) -> None:
    out = tmp_path / "crl.pem"
    assert fleet("crl", path, "--out", out) == [
        f"wrote {out}: 0 certificates revoked, to be renewed within 7d"
    ]
    fleet("revoke", path, "device-00001")
    fleet("crl", path, "--out", out, "--valid", "12h")
    issuing, root = [x509.load_pem_x509_crl(block.text) for block in pem.blocks(out.read_bytes())]
    assert (len(issuing), len(root)) == (1, 0)
    assert issuing.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 2
    assert sorted(one.name for one in tmp_path.iterdir()) == ["core2.fleet", "crl.pem"]


def test_lists_go_to_standard_output_where_no_file_is_named(path: Path) -> None:
    text = "\n".join(fleet("crl", path))
    assert [block.label for block in pem.blocks(text.encode())] == ["X509 CRL", "X509 CRL"]


def test_lists_that_cannot_be(path: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot write .*nowhere"):
        fleet("crl", path, "--out", tmp_path / "nowhere" / "crl.pem")
    with pytest.raises(UsageError, match="--valid: "):
        fleet("crl", path, "--valid", "soon")
    with pytest.raises(FleetError, match="one second at least"):
        fleet("crl", path, "--valid", "0s")


def test_a_self_signed_fleet_grows_and_has_no_list(tmp_path: Path) -> None:
    path = tmp_path / "own.fleet"
    fleet("create", path, "--devices", 2, "--self-signed")
    fleet("create", path, "--devices", 1, "--self-signed", "--add")
    shown = dict(line.split(maxsplit=1) for line in fleet("show", path))
    assert shown["authority"] == "none: certificates are self-signed"
    with pytest.raises(FleetError, match="no authority to sign a revocation list with"):
        fleet("crl", path)
    with pytest.raises(FleetError, match="holds no authority to issue with"):
        fleet("create", path, "--devices", 1, "--add")
    with pytest.raises(UsageError, match="leave out the --authority options"):
        fleet("create", path, "--devices", 1, "--self-signed", "--authority-name", "Acme")
    fleet("export", path, tmp_path / "out")
    fleet("import", tmp_path / "out", tmp_path / "again.fleet")
    with FleetStore.open(path) as one, FleetStore.open(tmp_path / "again.fleet") as other:
        assert set(one.trust_anchors) == set(other.trust_anchors)
        assert one.credentials() == other.credentials()
