from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from simulator.errors import FleetError
from simulator.identity.pem_export import export_folder
from simulator.identity.pem_import import import_folder

if TYPE_CHECKING:
    from pathlib import Path

    from simulator.identity.authority import Authority


def test_what_is_exported_can_be_imported(tmp_path: Path, authority: Authority) -> None:
    fleet = [(name, authority.issue_device(name)) for name in ("a", "b c", "Gerät-7")]
    assert export_folder(tmp_path / "out", fleet, [authority.root]) == 3
    imported = import_folder(tmp_path / "out")
    assert sorted(imported.credentials) == sorted(fleet)
    assert imported.trust_anchors == (authority.root,)
    assert imported.warnings == ()


def test_keys_are_for_their_owner_only(tmp_path: Path, authority: Authority) -> None:
    export_folder(tmp_path / "out", [("a", authority.issue_device("a"))], [authority.root])
    assert stat.S_IMODE((tmp_path / "out" / "a" / "key.pem").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "out" / "a").stat().st_mode) == 0o700


def test_the_files_are_what_they_say(tmp_path: Path, authority: Authority) -> None:
    credential = authority.issue_device("a")
    export_folder(tmp_path, [("a", credential)], [authority.root])
    assert (tmp_path / "ca.pem").read_text() == authority.root_pem
    assert (tmp_path / "a" / "certificate.pem").read_text() == credential.chain_pem()
    assert (tmp_path / "a" / "key.pem").read_text() == credential.key_pem()


def test_nothing_is_overwritten(tmp_path: Path, authority: Authority) -> None:
    (tmp_path / "ca.pem").write_text("mine")
    with pytest.raises(FleetError, match="is not empty"):
        export_folder(tmp_path, [("a", authority.issue_device("a"))], [authority.root])
    assert (tmp_path / "ca.pem").read_text() == "mine"


def test_a_place_that_cannot_be_written(tmp_path: Path, authority: Authority) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FleetError, match=r"cannot export to .*file.*: Not a directory"):
        export_folder(tmp_path / "file" / "out", [], [authority.root])
