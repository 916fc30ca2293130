"""The key log: the secrets that the other side knows as well, and nobody else may read."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from simulator.errors import UsageError
from simulator.link.key_log import KeyLog
from simulator.link.tls import TlsClient, TlsSettings
from tests.support.tls import VERSIONS, server_context
from tests.support.wire import Wire

if TYPE_CHECKING:
    from simulator.identity.authority import Authority
    from simulator.identity.credential import Credential
    from simulator.scenario.kinds import TlsVersion
    from tests.support.listener import Listener


CLOSED: Any = None
"""What closes the log of an ``SSLContext``, unknown to its annotations."""


async def shake_hands(listener: Listener, tls: TlsClient, server: Credential, log: Path | None) -> None:
    wire, context = Wire(), server_context(server)
    if log is not None:
        context.keylog_filename = str(log)
    serving = asyncio.create_task(asyncio.to_thread(listener.shake_hands, context))
    await wire.open(listener.address, tls, None)
    await serving
    wire.link.close()
    context.keylog_filename = CLOSED


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("version", VERSIONS)
async def test_it_holds_the_secrets_that_the_server_has(
    listener: Listener, *, brokers: Authority, server: Credential, version: TlsVersion, tmp_path: Path
) -> None:
    ours, theirs = tmp_path / "ours.log", tmp_path / "theirs.log"
    settings = TlsSettings(version, trust=(brokers.root,))
    with KeyLog(ours) as key_log:
        for _ in range(2):
            await shake_hands(listener, TlsClient(settings, "127.0.0.1", key_log), server, theirs)
    known = {line for line in theirs.read_text().splitlines() if not line.startswith("#")}
    logged = ours.read_text().splitlines()
    assert len({line.split()[1] for line in logged}) == 2
    assert set(logged) == known
    assert len(logged) == len(known)
    assert key_log.trouble == ""


async def test_what_it_was_not_given_to_is_not_in_it(
    listener: Listener, brokers: Authority, server: Credential, tmp_path: Path
) -> None:
    with KeyLog(tmp_path / "keys.log"):
        await shake_hands(listener, TlsClient(TlsSettings(trust=(brokers.root,)), "127.0.0.1"), server, None)
    assert (tmp_path / "keys.log").read_bytes() == b""


def test_only_its_owner_may_read_it_and_what_was_in_it_stays(tmp_path: Path) -> None:
    new, old = tmp_path / "new.log", tmp_path / "old.log"
    old.write_text("# by another program\n")
    old.chmod(0o644)
    with KeyLog(new), KeyLog(old):
        assert (mode(new), mode(old)) == (0o600, 0o600)
    assert old.read_text() == "# by another program\n"


def test_a_file_that_cannot_be_written_is_a_mistake_of_the_user(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=rf"^cannot write the TLS key log {tmp_path}: Is a directory$"):
        KeyLog(tmp_path)
    missing = tmp_path / "none" / "keys.log"
    with pytest.raises(UsageError, match=rf"^cannot write the TLS key log {missing}: No such file"):
        KeyLog(missing)


def test_a_file_that_cannot_be_kept_from_others_is_none_for_secrets() -> None:
    with pytest.raises(UsageError, match=r"^cannot keep the TLS key log /proc/self/comm from others: Oper"):
        KeyLog(Path("/proc/self/comm"))  # a plain file whose mode nobody may change


async def test_a_full_disk_does_not_disturb_a_handshake_and_is_told(
    listener: Listener, brokers: Authority, server: Credential, tmp_path: Path
) -> None:
    full = tmp_path / "full"
    full.symlink_to("/dev/full")
    with KeyLog(full) as key_log:
        tls = TlsClient(TlsSettings(trust=(brokers.root,)), "127.0.0.1", key_log)
        await shake_hands(listener, tls, server, None)
    assert key_log.trouble == f"the TLS key log {full} lacks secrets: No space left on device"
    assert mode(full) != 0o600  # a device is not ours to take away from others
