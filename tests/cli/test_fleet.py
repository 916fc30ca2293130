from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from simulator.cli.fleet import app
from simulator.errors import FleetError, UsageError
from simulator.identity.authority import Authority
from simulator.identity.record import Status
from simulator.identity.store import FleetStore

if TYPE_CHECKING:
    from pathlib import Path

COMMAND = [sys.executable, "-c", "from simulator.cli.fleet import app; app()"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "core2.fleet"


def fleet(*words: object) -> list[str]:
    """Run ``simulator fleet`` with these words; return what it printed, or raise what it raised."""
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def refused(*words: object) -> str:
    with pytest.raises(UsageError) as error:
        fleet(*words)
    return str(error.value)


def inside(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_create_makes_a_fleet_with_an_authority_named_after_the_file(path: Path) -> None:
    said = fleet("create", path, "--devices", 3, "--prefix", "core2-")
    assert said == [f"issued 3 devices into {path}, which now holds 3"]
    with FleetStore.open(path) as store:
        assert [device for device, _ in store.credentials()] == ["core2-00001", "core2-00002", "core2-00003"]
        assert store.authority is not None
        assert store.authority.name == "core2"


def test_create_takes_kinds_of_keys_validity_and_a_name(path: Path) -> None:
    options = [
        "--key",
        "ed25519",
        "--authority-key",
        "ec-p384",
        "--validity",
        "12h",
        "--authority-name",
        "Acme",
    ]
    fleet("create", path, "--devices", 1, *options)
    with FleetStore.open(path) as store:
        leaf = store.credential("device-00001").x509()
        assert leaf.issuer.rfc4514_string() == "CN=Acme issuing"
        assert type(leaf.public_key()).__name__.startswith("Ed25519")
        used = leaf.signature_hash_algorithm
        assert used is not None
        assert used.name == "sha384"
        assert 0 < (leaf.not_valid_after_utc - leaf.not_valid_before_utc).total_seconds() - 12 * 3600 < 400


def test_create_does_not_touch_a_file_that_exists_unless_told_to_add(path: Path) -> None:
    fleet("create", path, "--devices", 2)
    assert "exists already" in refused("create", path, "--devices", 1)
    assert fleet("create", path, "--devices", 1, "--add")[0].endswith("which now holds 3")
    assert "leave out" in refused("create", path, "--devices", 1, "--add", "--authority-name", "Other")


@pytest.mark.parametrize(
    ("validity", "why"), [("1 fortnight", "expected a duration"), ("9999999999d", "--validity")]
)
def test_create_explains_a_validity_that_it_cannot_read(path: Path, validity: str, why: str) -> None:
    assert why in refused("create", path, "--devices", 1, "--validity", validity)
    assert not path.exists()


def test_show_says_what_the_fleet_is(path: Path) -> None:
    fleet("create", path, "--devices", 2)
    said = dict(line.split(maxsplit=1) for line in fleet("show", path))
    assert said["authority"] == "core2"
    assert said["devices"] == "2"
    assert said["certificates"] == "2 active, 0 superseded, 0 revoked"
    assert said["expired"] == "0"


def test_show_of_an_empty_fleet(path: Path) -> None:
    FleetStore.create(path).close()
    said = fleet("show", path)
    assert said[0] == "authority      none: this fleet was imported"
    assert not any(line.startswith("expiry") for line in said)


def test_list_shows_a_line_for_each_certificate_and_no_key(path: Path) -> None:
    authority = Authority.create("Acme")
    with FleetStore.create(path, authority) as store:
        store.issue(["a", "b"])
        store.add("a", authority.issue_device("a"))
        records = list(store.devices())
    header, *lines = fleet("list", path)
    assert header.split()[0] == "DEVICE"
    assert [line.split()[:3] for line in lines] == [
        ["a", "1", "superseded"],
        ["a", "2", "active"],
        ["b", "1", "active"],
    ]
    assert [line.split()[-1] for line in lines] == [record.fingerprint for record in records]
    assert len(fleet("list", path, "--status", Status.ACTIVE)) == 1 + 2
    assert len(fleet("list", path, "--limit", 1)) == 1 + 1


def test_a_list_is_as_wide_as_the_terminal(path: Path) -> None:
    with FleetStore.create(path, Authority.create("Acme")) as store:
        store.issue(2)
        store.revoke("device-00002")
        records = list(store.devices())
    ours, terminal = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "80", "NO_COLOR": "1"}
    subprocess.run([*COMMAND, "list", path], stdout=terminal, env=environment, check=True)
    os.close(terminal)
    header, first, second = os.read(ours, 4096).decode().splitlines()
    os.close(ours)
    assert max(map(len, (header, first, second))) <= 80
    assert first.split()[-1] == records[0].fingerprint[:15]
    assert second.endswith("…")


def test_list_as_json_lines(path: Path) -> None:
    fleet("create", path, "--devices", 2)
    rows = [json.loads(line) for line in fleet("list", path, "--json")]
    with FleetStore.open(path) as store:
        credential = store.credential("device-00001")
    assert [row["device"] for row in rows] == ["device-00001", "device-00002"]
    assert rows[0] == {
        "device": "device-00001",
        "generation": 1,
        "status": "active",
        "serial_number": f"{credential.serial_number:x}",
        "fingerprint": credential.fingerprint,
        "not_before": credential.not_before.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "not_after": credential.not_after.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "revocation": None,
    }


def test_a_fleet_goes_out_as_a_folder_and_comes_back(path: Path, tmp_path: Path) -> None:
    fleet("create", path, "--devices", 3)
    assert fleet("export", path, tmp_path / "out")[0].startswith("exported 3 devices")
    again = tmp_path / "again.fleet"
    assert fleet("import", tmp_path / "out", again) == [f"imported 3 devices into {again}"]
    with FleetStore.open(path) as first, FleetStore.open(again) as second:
        assert first.credentials() == second.credentials()
        assert first.trust_anchors == second.trust_anchors
    assert "holds no authority" in refused("create", again, "--devices", 1, "--add")


def test_export_of_some(path: Path, tmp_path: Path) -> None:
    fleet("create", path, "--devices", 3)
    fleet("export", path, tmp_path / "first", "--devices", 2)
    fleet("export", path, tmp_path / "named", "--device", "device-00003", "--device", "device-00001")
    assert sorted(one.name for one in (tmp_path / "first").iterdir()) == [
        "ca.pem",
        "device-00001",
        "device-00002",
    ]
    assert sorted(one.name for one in (tmp_path / "named").iterdir()) == [
        "ca.pem",
        "device-00001",
        "device-00003",
    ]
    assert "no active credential" in refused("export", path, tmp_path / "none", "--device", "x")
    assert "choose one" in refused("export", path, tmp_path / "none", "--devices", 1, "--device", "x")
    assert not (tmp_path / "none").exists()


def test_import_warns_and_names_by_common_name(path: Path, tmp_path: Path) -> None:
    credential = Authority.create("Acme").issue_device("core2-00001")
    (tmp_path / "x.crt").write_text(credential.chain_pem())
    (tmp_path / "x.key").write_text(credential.key_pem())
    result = CliRunner().invoke(app, ["import", str(tmp_path), str(path), "--names", "cn"])
    assert result.stdout.splitlines() == [f"imported 1 device into {path}"]
    assert result.stderr.startswith("warning: without a root")
    with FleetStore.open(path) as store:
        assert store.credential("core2-00001").key == credential.key


def test_import_that_fails_makes_no_file(path: Path, tmp_path: Path) -> None:
    (tmp_path / "x.key").write_text("nothing")
    with pytest.raises(FleetError, match="holds no PEM"):
        fleet("import", tmp_path, path)
    assert not path.exists()


@pytest.mark.parametrize("verb", ["show", "list"])
def test_a_file_that_is_not_there(path: Path, verb: str) -> None:
    assert "no fleet file" in refused(verb, path)


def test_piped_issuing_is_plain(path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "create", path, "--devices", "2"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"issued 2 devices into {path}, which now holds 2\n"
    assert done.stderr == ""


def test_on_a_terminal_there_is_a_bar_and_ctrl_c_keeps_what_was_issued(path: Path) -> None:
    ours, terminal = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, "create", path, "--devices", "1000000"],
        stdout=subprocess.PIPE,
        stderr=terminal,
        text=True,
        env=os.environ | {"TERM": "xterm"},
    ) as process:
        os.close(terminal)
        shown = b""
        while b"/1000000" not in shown or b" 0/1000000" in shown[-200:]:
            shown += os.read(ours, 4096)
        process.send_signal(signal.SIGINT)
        while b"--add issues more" not in shown:
            if not select.select([ours], [], [], 30)[0]:
                process.kill()
                pytest.fail("the command did not answer Ctrl-C within 30 s")
            shown += os.read(ours, 4096)
        assert process.wait() == 130
        assert process.stdout is not None
        assert process.stdout.read() == ""
    os.close(ours)
    with FleetStore.open(path) as store:
        kept = len(store.credentials())
        assert 0 < kept < 1_000_000
        assert f"keeps {kept} of 1000000 devices".encode() in shown
        store.issue(1)
        assert store.summary().devices == kept + 1
