from __future__ import annotations

import os
import shutil
import ssl
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from simulator import clock
from simulator.errors import FleetError
from simulator.identity import pem_file
from simulator.identity.authority import Authority
from simulator.identity.cluster_folder import Role, export_cluster, role_files
from simulator.identity.pem_export import CERTIFICATE_FILE, KEY_FILE, TRUST_FILE

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    export_cluster(tmp_path / "cluster")
    return tmp_path / "cluster"


def shakes_hands(client: Path, server: Path) -> bool:
    """Tell whether two roles take each other for members, over TLS in memory."""
    sides = []
    for side, folder in ((ssl.PROTOCOL_TLS_CLIENT, client), (ssl.PROTOCOL_TLS_SERVER, server)):
        context = ssl.SSLContext(side)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(folder / TRUST_FILE)
        context.load_cert_chain(folder / CERTIFICATE_FILE, folder / KEY_FILE)
        sides.append(context)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours, theirs = sides[0].wrap_bio(down, up), sides[1].wrap_bio(up, down, server_side=True)
    left = {ours, theirs}
    try:
        for _ in range(6):
            for side_ in tuple(left):
                try:
                    side_.do_handshake()
                    left.discard(side_)
                except ssl.SSLWantReadError:
                    pass
    except ssl.SSLError:
        return False
    return not left


def test_each_role_has_a_folder_of_its_own_that_only_its_owner_can_enter(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == ["client", "scheduler", "worker"]
    for role in Role:
        assert sorted(path.name for path in (folder / role).iterdir()) == [
            TRUST_FILE, CERTIFICATE_FILE, KEY_FILE
        ]  # fmt: skip
        assert (folder / role).stat().st_mode & 0o777 == 0o700
        assert (folder / role / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700


def test_the_only_keys_are_those_of_the_roles(folder: Path) -> None:
    texts = [path.read_text() for path in folder.rglob("*") if path.is_file()]
    assert sum(text.count("PRIVATE KEY-----\n") for text in texts) == 2 * len(Role)


@pytest.mark.parametrize(
    ("client", "server"),
    [
        ("client", "scheduler"),
        ("client", "worker"),
        ("worker", "scheduler"),
        ("scheduler", "worker"),
        ("worker", "worker"),
    ],
)
def test_members_take_each_other_for_members(client: str, server: str, folder: Path) -> None:
    assert shakes_hands(folder / client, folder / server)


def test_a_client_cannot_pose_as_a_scheduler(folder: Path) -> None:
    assert not shakes_hands(folder / "worker", folder / "client")


def test_members_of_another_cluster_are_strangers(folder: Path, tmp_path: Path) -> None:
    export_cluster(tmp_path / "other")
    assert not shakes_hands(tmp_path / "other" / "client", folder / "scheduler")
    shutil.copy(folder / "client" / TRUST_FILE, tmp_path / "other" / "client")
    assert not shakes_hands(tmp_path / "other" / "client", folder / "scheduler")


def test_nothing_is_overwritten(folder: Path) -> None:
    before = (folder / "client" / KEY_FILE).read_text()
    with pytest.raises(FleetError, match="cluster is not empty"):
        export_cluster(folder)
    assert (folder / "client" / KEY_FILE).read_text() == before


def test_validity_is_as_asked(tmp_path: Path) -> None:
    export_cluster(tmp_path / "cluster", timedelta(days=2))
    leaf = pem_file.read(tmp_path / "cluster" / "worker" / CERTIFICATE_FILE).certificates[0]
    left = leaf.not_valid_after_utc - clock.wall()
    assert timedelta(days=2) - timedelta(minutes=1) < left <= timedelta(days=2, seconds=1)


@pytest.mark.parametrize("role", Role)
def test_files_of_a_role_are_found(role: Role, folder: Path) -> None:
    files = role_files(folder / role, role)
    assert [path.parent for path in files] == [folder / role] * 3


def test_a_nodes_certificate_will_do_for_a_client(folder: Path) -> None:
    assert role_files(folder / "scheduler", Role.CLIENT)


def renew(folder: Path, not_before: datetime) -> None:
    """Put a credential of another time into the folder of a worker."""
    authority = Authority.create("Other")
    credential = authority.issue_device("worker", validity=timedelta(days=1), not_before=not_before)
    (folder / CERTIFICATE_FILE).write_text(credential.chain_pem())
    (folder / KEY_FILE).write_text(credential.key_pem())


def expire(folder: Path) -> None:
    renew(folder, clock.wall() - timedelta(days=9))


def come_early(folder: Path) -> None:
    renew(folder, clock.wall() + timedelta(days=9))


def swap_key(folder: Path) -> None:
    shutil.copy(folder.parent / "scheduler" / KEY_FILE, folder)


def swap_trust(folder: Path) -> None:
    export_cluster(folder.parent.parent / "other")
    shutil.copy(folder.parent.parent / "other" / "worker" / TRUST_FILE, folder)


def swap_role(folder: Path) -> None:
    for name in (CERTIFICATE_FILE, KEY_FILE):
        shutil.copy(folder.parent / "client" / name, folder)


def close_door(folder: Path) -> None:
    (folder / KEY_FILE).unlink()
    (folder / KEY_FILE).symlink_to(KEY_FILE)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (shutil.rmtree, r"worker holds no ca.pem: it should be the folder worker that"),
        (lambda folder: (folder / KEY_FILE).unlink(), r"worker holds no key.pem"),
        (
            lambda folder: (folder / KEY_FILE).chmod(0o604),
            r"others can read the private key in .*: chmod 600",
        ),
        (lambda folder: (folder / CERTIFICATE_FILE).write_text("nonsense"), r"certificate.pem holds no PEM"),
        (lambda folder: (folder / TRUST_FILE).write_text("nonsense"), r"ca.pem holds no PEM"),
        (close_door, r"holds no key.pem|cannot read .*key.pem"),
        (swap_key, r"does not belong to the key"),
        (swap_trust, r"is not of the authority in .*ca.pem: copy the whole folder"),
        (swap_role, r"is a client's, and a worker needs its own"),
        (expire, r"expired on 2\d\d\d-.* UTC: make new ones"),
        (come_early, r"is valid from 2\d\d\d-.* UTC on only: set this machine's clock"),
    ],
)
def test_what_is_wrong_with_a_folder_is_one_sentence(
    spoil: Callable[[Path], object], said: str, folder: Path
) -> None:
    spoil(folder / "worker")
    with pytest.raises(FleetError, match=said) as caught:
        role_files(folder / "worker", Role.WORKER)
    assert "\n" not in str(caught.value)


def test_the_folder_of_all_roles_is_not_that_of_one(folder: Path) -> None:
    with pytest.raises(FleetError, match=r"holds the folders of all roles: name .*cluster/client"):
        role_files(folder, Role.CLIENT)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_group_may_read_a_key_where_root_lets_it(folder: Path) -> None:
    key = folder / "worker" / KEY_FILE
    key.chmod(0o440)
    assert role_files(folder / "worker", Role.WORKER)
    os.chown(key, 1000, -1)
    with pytest.raises(FleetError, match="others can read"):
        role_files(folder / "worker", Role.WORKER)
