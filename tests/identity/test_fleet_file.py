from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from simulator import clock
from simulator.errors import FleetError
from simulator.identity import fleet_file
from simulator.identity.authority import Authority
from simulator.identity.record import Reason, Status
from simulator.identity.store import FleetStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def no_umask() -> Iterator[None]:
    """Take away the protection that the shell gives, so that only ours is left."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "core2.fleet"


def modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


@pytest.mark.usefixtures("no_umask")
def test_the_file_and_its_siblings_are_for_their_owner_only(path: Path) -> None:
    with closing(fleet_file.create_file(path)) as connection:
        with fleet_file.transaction(connection, path):
            connection.execute("INSERT INTO trust_anchor VALUES (x'00')")
        assert modes(path.parent) == dict.fromkeys(
            ["core2.fleet", "core2.fleet-wal", "core2.fleet-shm"], 0o600
        )
    assert modes(path.parent) == {"core2.fleet": 0o600}


def test_an_existing_file_is_left_alone(path: Path) -> None:
    path.write_text("mine")
    with pytest.raises(FleetError, match="exists already"):
        fleet_file.create_file(path)
    assert path.read_text() == "mine"


def test_a_link_that_somebody_laid_out_is_not_followed(path: Path) -> None:
    path.symlink_to(path.parent / "elsewhere")
    with pytest.raises(FleetError, match="exists already"):
        fleet_file.create_file(path)
    assert not (path.parent / "elsewhere").exists()


def test_a_folder_that_is_not_there(path: Path) -> None:
    with pytest.raises(FleetError, match="No such file or directory"):
        fleet_file.create_file(path.parent / "nowhere" / path.name)


def test_it_is_known_again(path: Path) -> None:
    fleet_file.create_file(path).close()
    with closing(fleet_file.open_file(path)) as connection:
        (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    assert mode == "wal"


def test_a_file_that_is_not_there_is_not_made(path: Path) -> None:
    with pytest.raises(FleetError, match=r"no fleet file .*core2\.fleet: make one with"):
        fleet_file.open_file(path)
    assert not path.exists()


def test_text_is_no_fleet(path: Path) -> None:
    path.write_text("-----BEGIN CERTIFICATE-----\n" * 100)
    with pytest.raises(FleetError, match="not a fleet file"):
        fleet_file.open_file(path)


def test_an_empty_file_is_no_fleet(path: Path) -> None:
    path.touch()
    with pytest.raises(FleetError, match="not a fleet file"):
        fleet_file.open_file(path)


def test_another_database_is_no_fleet(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE cookies (name TEXT)")
    with pytest.raises(FleetError, match="not a fleet file"):
        fleet_file.open_file(path)


def test_a_file_from_a_newer_simulator(path: Path) -> None:
    with closing(fleet_file.create_file(path)) as connection:
        connection.execute(f"PRAGMA user_version = {fleet_file.VERSION + 1}")
    with pytest.raises(FleetError, match="version 3, and this simulator knows 2"):
        fleet_file.open_file(path)


def test_a_transaction_that_fails_leaves_nothing(path: Path) -> None:
    def fail_half_way(connection: sqlite3.Connection) -> None:
        with fleet_file.transaction(connection, path):
            connection.execute("INSERT INTO trust_anchor VALUES (x'00')")
            raise KeyboardInterrupt

    with closing(fleet_file.create_file(path)) as connection:
        with pytest.raises(KeyboardInterrupt):
            fail_half_way(connection)
        assert connection.execute("SELECT count(*) FROM trust_anchor").fetchone() == (0,)


def test_a_writer_waits_for_another_and_then_says_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_file, "_BUSY_SECONDS", 0.01)
    with (
        closing(fleet_file.create_file(path)) as first,
        closing(fleet_file.open_file(path)) as second,
        fleet_file.transaction(first, path),
        pytest.raises(FleetError, match=r"another process holds the fleet file .*core2\.fleet"),
        fleet_file.transaction(second, path),
    ):
        pytest.fail("two transactions at once")


def test_a_file_that_another_process_keeps_to_itself_is_a_fleet_all_the_same(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet_file, "_BUSY_SECONDS", 0.01)
    fleet_file.create_file(path).close()
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(FleetError, match="another process holds the fleet file"):
            fleet_file.open_file(path)


def test_a_fleet_whose_layout_fails_leaves_no_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_file, "_TABLES", ("CREATE NONSENSE",))
    with pytest.raises(FleetError, match=r"core2\.fleet: near"):
        fleet_file.create_file(path)
    assert list(path.parent.iterdir()) == []


def test_a_file_of_an_older_simulator_gets_what_it_lacks(path: Path) -> None:
    with FleetStore.create(path, Authority.create("Acme")) as store:
        store.issue(3)
        store.revoke("device-00002")
        before = store.credentials()
    with closing(sqlite3.connect(path)) as connection, connection:
        for table in ("revocation", "crl", "protection"):
            connection.execute(f"DROP TABLE {table}")
        connection.execute("PRAGMA user_version = 1")
    for _ in range(2):
        with FleetStore.open(path) as store:
            assert store.credentials() == before
            (revoked,) = store.devices(Status.REVOKED)
            assert revoked.revocation is not None
            assert revoked.revocation.reason is Reason.UNSPECIFIED
            assert abs(revoked.revocation.at - clock.wall()) < timedelta(seconds=10)
    with FleetStore.open(path) as store:
        store.revoke("device-00001")
        assert len(store.revocation_lists()) == 2
