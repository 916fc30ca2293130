"""``simulator run`` as a user meets it: real processes, a real terminal, real signals."""

from __future__ import annotations

import base64
import json
import os
import re
import resource
import signal
import stat
import subprocess
import termios
from typing import TYPE_CHECKING

import psutil
import pytest
from cryptography.hazmat.primitives import serialization

from simulator.cli.verbs import execute
from simulator.identity.store import FleetStore
from simulator.report.saved import read
from simulator.report.summary import summarize
from tests.support.command import COMMAND, LONG, SMALL, Running, environment, gone, simulator
from tests.support.tools import require

if TYPE_CHECKING:
    from pathlib import Path

SLOW_TO_ISSUE = ("--set", 'fleet.core2.key="rsa-3072"', "--set", "fleet.core2.devices=500")
FILES = {"failures.jsonl", "histograms.hlog", "intervals.jsonl", "report.json", "run.json", "scenario.toml"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "small.toml").write_text(SMALL)
    return tmp_path


def report_of(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / "report.json").read_text())
    return found


def sane(said: str) -> bool:
    return "Traceback" not in said and "Error" not in said and "Warning" not in said


def test_a_run_that_meets_its_thresholds(folder: Path) -> None:
    ended = simulator("run", "small.toml", "--out", "results", "--seed", "3", folder=folder)
    assert ended.code == 0, ended
    assert "Met. All 2 thresholds are met." in ended.out
    assert ended.out.endswith("\nSaved in results; to see it again: simulator report results\n")
    assert ended.err.splitlines()[0] == "issuing 10 certificates for core2"
    assert ended.err.splitlines()[1].startswith("broker: amqtt")
    assert {path.name for path in (folder / "results").iterdir()} == FILES
    found = report_of(folder / "results")
    assert (found["conclusion"], found["exit_code"], found["seed"]) == ("met", 0, 3)
    again = simulator("report", "results", folder=folder)
    assert again.code == 0
    assert ended.out.startswith(again.out)
    assert again.err == ""


def test_no_key_leaves_the_fleet_file(folder: Path) -> None:
    """Not as DER, PEM or base64, in no file of the run and in nothing that is said."""
    options = ("--set", 'fleet.core2.store="core2.fleet"', "--set", "fleet.core2.devices=5")
    ended = simulator("run", "small.toml", "--out", "results", *options, folder=folder)
    assert ended.code == 0, ended
    written = [path.read_bytes() for path in (folder / "results").rglob("*") if path.is_file()]
    everything = b"\n".join([*written, ended.out.encode(), ended.err.encode()])
    assert b"PRIVATE KEY" not in everything
    flat = re.sub(rb"\s|\\n", b"", everything)
    with FleetStore.open(folder / "core2.fleet") as store:
        keys = [credential.key for _, credential in store.credentials()]
    assert len(keys) == 5
    for key in keys:
        loaded = serialization.load_der_private_key(key, None)
        der = loaded.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        for shape in (key, der):
            assert shape not in everything
            assert base64.b64encode(shape)[40:-4] not in flat
            assert shape.hex().encode() not in flat
        assert key in (folder / "core2.fleet").read_bytes()  # the search would find one


def test_a_key_log_is_kept_where_the_environment_asks_for_one(folder: Path) -> None:
    asked = {"SSLKEYLOGFILE": "keys.log"}
    ended = simulator("run", "small.toml", "--out", "results", folder=folder, variables=asked)
    assert ended.code == 0, ended
    first, *others = ended.err.splitlines()
    assert first.startswith("warning: the TLS secrets of this run are appended to keys.log: ")
    assert not any("secrets" in line for line in others)
    lines = (folder / "keys.log").read_text().splitlines()
    assert len({line.split()[1] for line in lines}) == 15  # ten devices, and half of them a second time
    assert stat.S_IMODE((folder / "keys.log").stat().st_mode) == 0o600


def test_a_broken_threshold_ends_with_1(folder: Path) -> None:
    broken = ("--set", 'thresholds."tls_handshake.p99"="< 1us"')
    ended = simulator("run", "small.toml", "--out", "results", *broken, folder=folder)
    assert ended.code == 1
    assert "Broken. 1 of 3 thresholds broken" in ended.out
    assert report_of(folder / "results")["exit_code"] == 1


def test_nothing_listens(folder: Path) -> None:
    ended = simulator("run", "small.toml", "--broker", "127.0.0.1:1", folder=folder)
    assert ended.code == 4
    assert ended.out == ""
    assert ended.err.splitlines()[-1].startswith("error: no endpoint of the broker")
    assert list((folder / "runs").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere.toml"], "there is no such file"),
        (["."], "cannot be read"),
        (["small.toml", "--out", "taken"], "is not empty"),
        (["small.toml", "--out", "small.toml"], "cannot make the run folder small.toml"),
        (["small.toml", "--out", "/proc/none/results"], "cannot make the run folder /proc/none/results"),
        (["small.toml", "--set", "fleet.core2.device=3"], 'did you mean "devices"'),
        (["small.toml", "--set", "fleet.core2.devices=100_000_000"], "open files"),
        (["small.toml", "--broker", "mosquito"], "--broker mosquito"),
        (["small.toml", "--seed", "-1"], "--seed -1"),
        (["small.toml", "--key-log", "none/keys.log"], "cannot write the TLS key log none/keys.log"),
        (["small.toml", "--broker", "8.8.8.8"], "say so with --authorised"),
        (["small.toml", "--authorised"], "--authorised: belongs to a broker of kind"),
        (["small.toml", "--set", "limits.messages=99/s"], "asks for 100 messages/s"),
        (["small.toml", "--broker", "127.0.0.1:1", "--set", 'broker.trust=["none.pem"]'], "none.pem"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_sentence_and_code_2(
    folder: Path,
    arguments: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (folder / "taken").mkdir()
    (folder / "taken" / "mine").touch()
    monkeypatch.chdir(folder)
    monkeypatch.setattr("sys.argv", ["simulator", "run", *arguments])
    assert execute() == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert len(err.splitlines()) == 1
    assert err.startswith("error: ")


CONNECTS_NOWHERE = """
import os, sys
from simulator.cli.app import main
sys.addaudithook(lambda event, _: event == "socket.connect" and os._exit(99))
sys.argv = ["simulator", "run", "small.toml", *sys.argv[1:]]
main()
"""
"""A run that ends, with code 99, before any socket of it connects."""


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--broker", "8.8.8.8:8883,127.0.0.1:1"], 2),
        (["--broker", "127.0.0.1:1,8.8.8.8:8883", "--authorised", "--set", "fleet.core2.devices=1000"], 2),
        (["--broker", "127.0.0.1:1"], 99),
    ],
    ids=["no permission", "too much", "the negative twin"],
)
def test_nothing_is_connected_to_before_it_is_permitted(folder: Path, options: list[str], code: int) -> None:
    command = [COMMAND[0], "-c", CONNECTS_NOWHERE, *options]
    ended = subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (code, ""), ended.stderr
    assert not (folder / "runs").exists() or code == 99


def test_a_certificate_from_another_authority_is_counted_not_raised(folder: Path) -> None:
    """The devices do not trust the broker: its root was not given to them."""
    with Running(["broker", "start", "--port", "0", "--files", "broker"], folder) as broker:
        port = broker.out.wait_for("127.0.0.1:").split("127.0.0.1:")[1].split(",")[0]
        broker.out.wait_for("Ctrl-C")
        options = ("--broker", f"127.0.0.1:{port}", "--set", 'fleet.core2.store="broker/demo.fleet"')
        refused = simulator("run", "small.toml", "--out", "refused", *options, folder=folder)
        trusting = ("--set", 'broker.trust=["broker/ca.pem"]')
        accepted = simulator("run", "small.toml", "--out", "accepted", *options, *trusting, folder=folder)
        broker.signal(signal.SIGINT)
        assert broker.end().code == 0
    assert refused.code == 1
    assert "server_certificate_untrusted" in refused.out
    assert sane(refused.err)
    assert accepted.code == 0, accepted


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_while_issuing_nothing_is_left(folder: Path, number: signal.Signals) -> None:
    with Running(["run", "small.toml", "--out", "results", *SLOW_TO_ISSUE], folder) as running:
        running.wait_for("issuing 500")
        running.signal(number)
        ended = running.end()
    assert ended.code == 130
    assert ended.err.splitlines()[1:] == ["Interrupted. Nothing was run."]
    assert ended.out == ""
    assert not (folder / "results").exists()


@pytest.mark.parametrize(("number", "moment"), [(signal.SIGTERM, "broker:"), (signal.SIGINT, "steady")])
def test_interrupted_in_the_run_it_ends_in_order(folder: Path, number: signal.Signals, moment: str) -> None:
    with Running(["run", "small.toml", "--out", "results", *LONG], folder) as running:
        running.wait_for(moment)
        children = running.children()
        running.signal(number)
        ended = running.end()
    assert ended.code == 130
    assert sane(ended.err)
    assert "Interrupted." in ended.out
    assert gone(children)
    assert report_of(folder / "results")["failures"] == []
    assert ended.out.startswith(simulator("report", "results", folder=folder).out)


def test_interrupted_twice_it_ends_at_once_and_keeps_its_figures(folder: Path) -> None:
    """The broker is frozen, so that no goodbye can come to its end."""
    require("mosquitto")
    options = ("--broker", "mosquitto", "--out", "results", *LONG, "--set", 'limits.drain="60s"')
    with Running(["run", "small.toml", *options], folder) as running:
        running.wait_for("steady")
        children = running.children()
        children[-1].suspend()
        running.signal(signal.SIGINT)
        running.wait_for("Ctrl-C again")
        running.signal(signal.SIGINT)
        running.signal(signal.SIGINT)
        children[-1].resume()
        ended = running.end()
    assert ended.code == 130
    assert sane(ended.err)
    assert ended.err.splitlines()[-1].startswith("Interrupted. Saved in results")
    assert gone(children)
    assert report_of(folder / "results")["conclusion"] == "interrupted"


@pytest.mark.parametrize("broker", ["embedded", "mosquitto"])
def test_a_broker_that_is_killed_ends_the_run_with_3(folder: Path, broker: str) -> None:
    if broker == "mosquitto":
        require("mosquitto")
    with Running(["run", "small.toml", "--broker", broker, "--out", "results", *LONG], folder) as running:
        running.wait_for("steady")
        children = running.children()
        children[-1].kill()
        ended = running.end()
    assert ended.code == 3
    assert sane(ended.err)
    assert f"Incomplete. The {broker}" in ended.out
    assert gone(children)
    assert report_of(folder / "results")["exit_code"] == 3


def test_a_killed_run_takes_its_broker_along_and_can_be_reported(folder: Path) -> None:
    with Running(["run", "small.toml", "--out", "results", *LONG], folder) as running:
        running.wait_for("steady")
        children = running.children()
        running.signal(signal.SIGKILL)
        running.end()
    assert gone(children)
    assert not (folder / "results" / "report.json").exists()
    ended = simulator("report", "results", folder=folder)
    assert ended.code == 3
    assert "was killed before its end" in ended.out
    assert "tls_handshake" in ended.out


def test_a_disk_that_fills_up_is_told_and_the_figures_are_shown(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files may not grow any more, as on a full disk; nor could coverage write its own."""
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
    with Running(["run", "small.toml", "--out", "results", *LONG], folder) as running:
        running.wait_for("steady")
        resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (2048, 2048))
        ended = running.end()
    assert ended.code == 3
    assert sane(ended.err)
    assert "Incomplete. Cannot write results/" in ended.out
    assert "tls_handshake" in ended.out
    assert ended.err.splitlines()[-1].startswith("Not saved: cannot write results/")


def test_typed_ctrl_c_on_a_terminal_leaves_it_as_it_was(folder: Path) -> None:
    setsid = require("setsid")
    keyboard, terminal = os.openpty()
    before = termios.tcgetattr(terminal)
    arguments = ["run", "small.toml", "--out", "results", *LONG]
    process = subprocess.Popen(
        [setsid, "--ctty", "--wait", *COMMAND, *arguments],
        cwd=folder,
        env=environment(),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    )
    screen = read_until(keyboard, b"steady (2/4)")
    children = psutil.Process(process.pid).children(recursive=True)
    os.write(keyboard, b"\x03")
    screen += read_until(keyboard, b"simulator report results")
    assert process.wait() == 130
    assert termios.tcgetattr(terminal) == before
    assert screen.rindex(b"\x1b[?25h") > screen.rindex(b"\x1b[?25l")  # the cursor is shown again
    assert b"Interrupted." in screen
    assert b"Traceback" not in screen
    assert gone(children)
    os.close(keyboard)
    os.close(terminal)


def read_until(descriptor: int, words: bytes) -> bytes:
    seen = b""
    while words not in seen:
        seen += os.read(descriptor, 65536)
    return seen


def test_two_fleets_in_one_scenario(folder: Path) -> None:
    require("mosquitto")
    (folder / "two.toml").write_text(
        SMALL.replace("[[stage]]", GATEWAYS + "[[stage]]", 1).replace("embedded", "mosquitto")
    )
    ended = simulator("run", "two.toml", "--out", "results", folder=folder)
    assert ended.code == 0, ended
    assert "issuing 4 certificates for gateway" in ended.err
    assert "gateway, ms" in ended.out
    assert "core2, ms" in ended.out


GATEWAYS = """\
[fleet.gateway]
devices = 4
key = "ed25519"
mqtt = "5.0"
tls = "any"
subscribe = [{ topic = "fleet/#", qos = 1 }]
[[stage]]
name = "gateways"
connect = { fleet = "gateway", rate = "50/s" }
"""


def test_interrupted_at_a_terminal_all_shards_end_in_order(folder: Path) -> None:
    """Ctrl-C at a terminal goes to every process of the foreground, workers among them."""
    with Running(
        ["run", "small.toml", "--processes", "2", "--out", "results", *LONG], folder, alone=True
    ) as running:
        running.wait_for("steady")
        children = running.children()
        running.interrupt_all()
        ended = running.end()
    assert ended.code == 130
    assert sane(ended.err)
    assert "Interrupted." in ended.out
    assert "lost" not in ended.err
    assert gone(children)
    report = summarize(read(folder / "results"))
    assert report.failures == ()
    assert [shard.devices for shard in report.generator.shards] == [5, 5]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--processes", "0"], "--processes is a number from 1 to 256, or auto, not '0'"),
        (["--processes", "many"], "--processes is a number from 1 to 256, or auto, not 'many'"),
        (["--cluster", "tls://127.0.0.1:1"], "--cluster needs certificates that its scheduler knows"),
        (["--cluster", "tls://127.0.0.1:1", "--cluster-certificates", "nowhere"], "nowhere"),
        (["--cluster", "tls://127.0.0.1:1", "--key-log", "keys"], "leave out --key-log"),
        (["--cluster", "tcp://127.0.0.1:1", "--cluster-certificates", "."], "tls://"),
    ],
)
def test_options_for_shards_that_do_not_fit(folder: Path, options: list[str], words: str) -> None:
    ended = simulator("run", "small.toml", *options, folder=folder)
    assert ended.code == 2
    assert words in ended.err
    assert len(ended.err.splitlines()) == 1
    assert not (folder / "runs").exists()


def test_processes_share_a_key_log(folder: Path) -> None:
    options = ("--processes", "2", "--key-log", "keys.log", "--out", "results")
    ended = simulator("run", "small.toml", *options, folder=folder)
    assert ended.code == 0, ended
    connections = {line.split()[1] for line in (folder / "keys.log").read_text().splitlines()}
    assert len(connections) == 15  # ten devices, and half of them once more


def test_one_process_is_this_one(folder: Path) -> None:
    ended = simulator("run", "small.toml", "--processes", "1", "--out", "results", folder=folder)
    assert ended.code == 0, ended
    (shard,) = summarize(read(folder / "results")).generator.shards
    assert shard.host == "this process"
