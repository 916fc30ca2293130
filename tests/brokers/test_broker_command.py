"""``simulator broker start``, run as a user runs it."""

from __future__ import annotations

import asyncio
import shlex
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from simulator.identity.authority import Authority
from simulator.identity.store import FleetStore
from tests.support.tools import require

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PROGRAM = "from simulator.cli.broker import app; app()"


class Started:
    """The command while it runs, and the lines that it printed."""

    def __init__(self, process: asyncio.subprocess.Process, lines: list[str]) -> None:
        self.process = process
        self.lines = lines

    def line(self, program: str) -> list[str]:
        """Return the line for one program, as a shell would take it apart."""
        (line,) = (line for line in self.lines if line.strip().startswith(program))
        return shlex.split(line)


@asynccontextmanager
async def started(*options: str) -> AsyncIterator[Started]:
    """Run the command until the end of the block, then end it as Ctrl-C does."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, "start", "--port", "0", *options, stdout=pipe, stderr=pipe
    )
    assert process.stdout is not None
    lines: list[str] = []
    async with asyncio.timeout(20):
        while "Ctrl-C" not in (line := (await process.stdout.readline()).decode()):
            assert line or not process.stdout.at_eof()
            lines.append(line.rstrip())
    yield Started(process, lines)
    process.send_signal(signal.SIGINT)
    _, stderr = await process.communicate()
    assert process.returncode == 0, stderr


async def output(command: list[str]) -> bytes:
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert process.returncode == 0
    return out


@pytest.mark.parametrize("kind", ["embedded", "mosquitto"])
async def test_printed_lines_work_as_they_are(kind: str, tmp_path: Path) -> None:
    require("mosquitto")
    require("mosquitto_pub")
    async with started("--kind", kind, "--files", str(tmp_path / "files")) as broker:
        publish, subscribe = broker.line("mosquitto_pub"), broker.line("mosquitto_sub")
        listener = asyncio.create_task(output([*subscribe, "-C", "1", "-W", "10"]))
        while not listener.done():
            await output(publish)
        assert (await listener).split() == [publish[publish.index("-t") + 1].encode(), b"hello"]
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "files").iterdir()} == {0o600}
    assert (tmp_path / "files").stat().st_mode & 0o777 == 0o700


async def test_serves_a_fleet_of_yours_and_leaves_no_files(tmp_path: Path) -> None:
    publisher = require("mosquitto_pub")
    with FleetStore.create(tmp_path / "acme.fleet", Authority.create("Acme")) as store:
        store.issue(2, prefix="acme-")
    async with started("--fleet", str(tmp_path / "acme.fleet")) as broker:
        publish = broker.line("mosquitto_pub")
        assert publish[publish.index("-t") + 1] == "fleet/acme-00001/telemetry"
        assert await output([publisher, *publish[1:], "-q", "1"]) == b""
        run = broker.line("simulator run")
        assert f'fleet.core2.store="{tmp_path / "acme.fleet"}"' in run
    assert not Path(publish[publish.index("--key") + 1]).parent.exists()


async def test_demo_fleet_is_kept_with_the_files(tmp_path: Path) -> None:
    for _ in range(2):
        async with started("--files", str(tmp_path)):
            with FleetStore.open(tmp_path / "demo.fleet") as store:
                fingerprints = {credential.fingerprint for _, credential in store.credentials(limit=3)}
                assert store.summary().devices == 500
    with FleetStore.open(tmp_path / "demo.fleet") as store:
        assert {credential.fingerprint for _, credential in store.credentials(limit=3)} == fingerprints


async def test_fleet_without_devices_is_refused(tmp_path: Path) -> None:
    FleetStore.create(tmp_path / "empty.fleet", Authority.create("Acme")).close()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, "start", "--fleet", str(tmp_path / "empty.fleet"),
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, stderr = await process.communicate()
    assert process.returncode == 1
    assert "empty.fleetholdsnodevicetoconnectwith" in "".join(stderr.decode().split())  # wherever lines break


@pytest.mark.parametrize("kind", ["embedded", "mosquitto"])
async def test_a_revoked_device_is_refused_after_sighup(kind: str, tmp_path: Path) -> None:
    require("mosquitto")
    require("mosquitto_pub")
    async with started("--kind", kind, "--files", str(tmp_path)) as broker:
        publish, revoke = broker.line("mosquitto_pub"), broker.line("simulator fleet revoke")
        await output(publish)
        with FleetStore.open(tmp_path / "demo.fleet") as store:
            store.revoke(revoke[-1])
        await output(publish)
        assert broker.line("kill") == ["kill", "-HUP", str(broker.process.pid)]
        broker.process.send_signal(signal.SIGHUP)
        await said(broker.process.stdout, f"the broker judges by the revocations in {tmp_path}/demo.fleet")
        with pytest.raises(AssertionError):
            await output(publish)


async def test_sighup_where_there_is_nobody_to_sign_a_list_is_a_sentence(tmp_path: Path) -> None:
    with FleetStore.create(tmp_path / "own.fleet") as store:
        store.issue(1, self_signed=True)
    async with started("--fleet", str(tmp_path / "own.fleet")) as broker:
        broker.process.send_signal(signal.SIGHUP)
        await said(broker.process.stderr, "own.fleet holds no authority to sign a revocation list with")
        broker.process.send_signal(signal.SIGHUP)
        await said(broker.process.stderr, "own.fleet holds no authority to sign a revocation list with")


async def said(stream: asyncio.StreamReader | None, words: str) -> None:
    assert stream is not None
    async with asyncio.timeout(20):
        while words not in (line := (await stream.readline()).decode()):
            assert line
