from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from simulator.errors import FleetError
from simulator.identity.pem_pair import read_pair

if TYPE_CHECKING:
    from pathlib import Path

    from simulator.identity.authority import Authority


def test_a_certificate_with_its_chain_and_its_key(authority: Authority, tmp_path: Path) -> None:
    issued = authority.issue_device("observer")
    (tmp_path / "a.pem").write_text(issued.chain_pem())
    (tmp_path / "a.key").write_text(issued.key_pem())
    assert read_pair(tmp_path / "a.pem", tmp_path / "a.key") == issued


def test_what_does_not_belong_together_is_refused(authority: Authority, tmp_path: Path) -> None:
    one, other = authority.issue_device("one"), authority.issue_device("other")
    (tmp_path / "a.pem").write_text(one.chain_pem())
    (tmp_path / "a.key").write_text(other.key_pem())
    with pytest.raises(FleetError, match=r"first certificate in .*a\.pem does not belong to .*a\.key"):
        read_pair(tmp_path / "a.pem", tmp_path / "a.key")


def test_what_is_missing_is_named(authority: Authority, tmp_path: Path) -> None:
    issued = authority.issue_device("observer")
    (tmp_path / "a.pem").write_text(issued.chain_pem())
    with pytest.raises(FleetError, match=r"a\.pem holds 0 private keys, and not one"):
        read_pair(tmp_path / "a.pem", tmp_path / "a.pem")
    with pytest.raises(FleetError, match=r"cannot read .*b\.key"):
        read_pair(tmp_path / "a.pem", tmp_path / "b.key")
