"""CPU of a QoS 1 publish of 256 bytes with its PUBACK: the product against a bare loop.

The bare loop holds the same TLS connections and makes the same calls, ``Connection.send`` when a message is
due and ``Connection.recv`` when its socket is readable, and does nothing else: no codec, no session, no
samples, no report. Saturated, each keeps a message under way on every connection; paced, each connection has
a message a second, by the same pacer.

The product calls OpenSSL below pyOpenSSL's methods, which is part of what it saves. The raw loop is the bare
loop with the same short cut: what is left to the product over it is its own work alone.

    python publish.py                   all sides, saturated and paced, as one JSON object
    python publish.py paced ours        one side alone
"""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import uvloop
from OpenSSL import SSL
from rig import Members, issue, mosquitto, run, scenario

from simulator.clock import SECOND, now, wall
from simulator.devices.context import FleetContext, Gate, Target
from simulator.devices.device import DeviceState
from simulator.devices.virtual import VirtualDevice
from simulator.engine.collector import quiet_collector
from simulator.identity.authority import Authority
from simulator.link import openssl
from simulator.link.address import resolve
from simulator.link.openssl import LoadedCredential
from simulator.link.tls import TlsClient, TlsSettings
from simulator.metrics.recorder import Recorder
from simulator.metrics.sample import Phase
from simulator.mqtt import codec311
from simulator.mqtt.packets import Connect, Publish
from simulator.pacer import Pacer
from simulator.report.folder import RunFolder
from simulator.report.run import Run
from simulator.scenario.kinds import TlsVersion

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator.brokers.broker import Broker
    from simulator.identity.credential import Credential
    from simulator.metrics.snapshot import Snapshot

SATURATED_DEVICES, BATCH, BATCHES = 200, 8_000, 9
CONNECT = {"name": "connect", "connect": {"fleet": "bench", "rate": "250/s"}, "duration": "4s"}
PACED_DEVICES, PACED_SECONDS = 500, 8
TURNS = 3


class BareLoop:
    """TLS connections with an open MQTT session each, and a packet that is always the same."""

    def __init__(self, members: Members, broker: Broker) -> None:
        self.loop = asyncio.get_running_loop()
        tls = TlsClient(TlsSettings(version=TlsVersion.V13, trust=broker.trust), broker.endpoints[0].host)
        self.connections = [self._connect(name, credential, broker, tls) for name, credential in members]
        packet = Publish(f"fleet/{members[0][0]}/telemetry", b"." * 256, qos=1, packet_id=1)
        self.packet = codec311.write(packet)
        self.acknowledged = 0
        self.on_ack: Callable[[], None] = lambda: None

    def _connect(self, name: str, credential: Credential, broker: Broker, tls: TlsClient) -> SSL.Connection:
        sock = socket.create_connection(broker.endpoints[0])
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = tls.connection(sock, LoadedCredential(credential))
        connection.do_handshake()
        connection.send(codec311.write(Connect(f"bare-{name}", keepalive=600)))
        if connection.recv(16_384)[0] != 0x20:
            raise RuntimeError("no CONNACK")
        sock.setblocking(False)
        self.loop.add_reader(sock.fileno(), self._readable, connection)
        return connection

    def send(self, connection: SSL.Connection) -> None:
        """Publish once more on this connection."""
        connection.send(self.packet)

    def _readable(self, connection: SSL.Connection) -> None:
        try:
            connection.recv(16_384)
        except SSL.WantReadError:
            return
        except SSL.Error:
            self.loop.remove_reader(connection.fileno())
            raise
        self.acknowledged += 1
        self.on_ack()

    def close(self) -> None:
        """End all connections."""
        for connection in self.connections:
            self.loop.remove_reader(connection.fileno())
            connection.sock_shutdown(socket.SHUT_RDWR)


class RawLoop(BareLoop):
    """The bare loop on the calls below pyOpenSSL that the product uses."""

    def __init__(self, members: Members, broker: Broker) -> None:
        self.natives: dict[SSL.Connection, object] = {}
        super().__init__(members, broker)
        self.natives.update((each, openssl.native_connection(each)) for each in self.connections)

    def send(self, connection: SSL.Connection) -> None:
        """Publish once more on this connection."""
        openssl.ssl_write(self.natives[connection], self.packet, len(self.packet))

    def _readable(self, connection: SSL.Connection) -> None:
        number = openssl.ssl_read(self.natives[connection], openssl.read_buffer, openssl.RECORD)
        if number <= 0:
            if not openssl.wants(connection, number):
                self.loop.remove_reader(connection.fileno())
                raise openssl.reason(connection, number)
            return
        openssl.view(openssl.read_buffer, number)[:]
        self.acknowledged += 1
        self.on_ack()


async def bare_batch(bare: BareLoop, messages: int) -> float:
    """Keep one message under way on each connection until so many are acknowledged; CPU microseconds each."""
    done = bare.loop.create_future()
    left = messages - len(bare.connections)
    until = bare.acknowledged + messages

    ring = deque(bare.connections)

    def on_ack() -> None:
        nonlocal left
        if left > 0:
            left -= 1
            bare.send(ring[0])
            ring.rotate(-1)
        elif bare.acknowledged == until:
            done.set_result(None)

    bare.on_ack = on_ack
    started = time.process_time_ns()
    for connection in bare.connections:
        bare.send(connection)
    await done
    return (time.process_time_ns() - started) / messages / 1000


class Devices:
    """The product's devices, its pacer and its recorder, with a message under way on each device."""

    def __init__(self, members: Members, target: Target, group: asyncio.TaskGroup) -> None:
        loop = asyncio.get_running_loop()
        self.pacer = Pacer(loop)
        self.recorder = Recorder(shard=0, origin=now(), on_failure=fail)
        self.context = FleetContext(
            "bench",
            scenario(len(members), [CONNECT], every="1h").fleets["bench"],
            targets=(target,),
            loop=loop,
            pacer=self.pacer,
            recorder=self.recorder,
            gate=Gate(len(members)),
            spawn=lambda work, name: group.create_task(work, name=name),
            on_idle=lambda: None,
            seed=1,
            wall_offset=0,
        )
        self.devices = [
            VirtualDevice(name, index, credential, self.context)
            for index, (name, credential) in enumerate(members)
        ]

    async def connect(self) -> None:
        """Connect all devices."""
        all_connected = asyncio.Event()

        def look(due: int) -> int | None:
            if self.context.population[DeviceState.CONNECTED] < len(self.devices):
                return due + SECOND // 20
            all_connected.set()
            return None

        for device in self.devices:
            device.connect(now())
        self.pacer.at(now(), look)
        await all_connected.wait()

    def finish(self) -> None:
        """Let every device say goodbye."""
        self.context.publish_ok = lambda _: None
        for device in self.devices:
            device.finish()
        self.pacer.stop()

    async def batch(self, messages: int) -> float:
        """Keep one message under way on each device until so many are acknowledged; CPU microseconds each."""
        record = self.recorder.series("bench", Phase.PUBLISH).ok.append
        done = asyncio.get_running_loop().create_future()
        ring, left, acknowledged = deque(self.devices), messages - len(self.devices), 0

        def send(due: int) -> None:
            ring[0].publish(due)
            ring.rotate(-1)

        def on_ack(sample: tuple[int, int, int]) -> None:
            nonlocal left, acknowledged
            record(sample)
            acknowledged += 1
            if left > 0:
                left -= 1
                send(now())
            elif acknowledged == messages:
                done.set_result(None)

        self.context.publish_ok = on_ack
        started = time.process_time_ns()
        for _ in self.devices:
            send(now())
        await done
        self.recorder.snapshot(now(), devices={}, cpu=0, rss=0)
        return (time.process_time_ns() - started) / messages / 1000


def fail(failure: object) -> None:
    raise RuntimeError(f"nothing may fail here: {failure}")


async def saturated_bare(kind: type[BareLoop] = BareLoop) -> float:
    """CPU microseconds a message of the bare loop, as fast as mosquitto acknowledges."""
    authority = Authority.create("Benchmark")
    async with mosquitto(authority) as broker:
        bare = kind(issue(SATURATED_DEVICES, authority), broker)
        with quiet_collector():
            batches = [await bare_batch(bare, BATCH) for _ in range(BATCHES)]
        bare.close()
    return median(batches)


async def saturated_ours() -> float:
    """CPU microseconds a message of the product's devices, as fast as mosquitto acknowledges."""
    authority = Authority.create("Benchmark")
    members = issue(SATURATED_DEVICES, authority)
    loop = asyncio.get_running_loop()
    async with mosquitto(authority) as broker, asyncio.TaskGroup() as group:
        tls = TlsClient(TlsSettings(version=TlsVersion.V13, trust=broker.trust), broker.endpoints[0].host)
        devices = Devices(members, Target(await resolve(broker.endpoints[0], loop), tls), group)
        await devices.connect()
        with quiet_collector():
            batches = [await devices.batch(BATCH) for _ in range(BATCHES)]
        devices.finish()
    return median(batches)


async def paced_bare(kind: type[BareLoop] = BareLoop) -> float:
    """CPU microseconds a message of the bare loop, each connection with a message a second."""
    authority = Authority.create("Benchmark")
    async with mosquitto(authority) as broker:
        bare = kind(issue(PACED_DEVICES, authority), broker)
        pacer = Pacer(bare.loop)
        start = now() + SECOND
        until = start + PACED_SECONDS * SECOND
        done = asyncio.Event()
        with quiet_collector():
            for place, connection in enumerate(bare.connections):

                def send(due: int, connection: SSL.Connection = connection) -> int | None:
                    bare.send(connection)
                    return due + SECOND if due + SECOND < until else None

                pacer.at(start + place * SECOND // PACED_DEVICES, send)
            pacer.at(until + SECOND // 2, lambda _: done.set())
            started = time.process_time_ns()
            await done.wait()
            cpu = time.process_time_ns() - started
        pacer.stop()
        bare.close()
        return cpu / bare.acknowledged / 1000


async def paced_ours() -> float:
    """CPU microseconds a message of the product, run folder and all, each device with a message a second."""
    authority = Authority.create("Benchmark")
    members = issue(PACED_DEVICES, authority)
    marks: list[tuple[float, int]] = []
    stages = [CONNECT, {"name": "steady", "duration": f"{PACED_SECONDS}s"}]
    with tempfile.TemporaryDirectory() as path:
        about = Run(scenario="b", title="b", seed=1, started=wall(), broker="mosquitto", lag_limit=SECOND)
        with RunFolder.create(Path(path) / "run", about, "") as folder:

            def emit(snapshot: Snapshot) -> None:
                folder.write(snapshot)
                published = sum(
                    each.outcomes["ok"] for key, each in snapshot.series.items() if key.phase == "publish"
                )
                marks.append((time.process_time(), published))

            async with mosquitto(authority) as broker:
                await run(scenario(PACED_DEVICES, stages, every="1s"), members, broker, emit)
    steady = marks[-PACED_SECONDS - 1 : -2]
    cpu = steady[-1][0] - steady[0][0]
    return cpu / sum(published for _, published in steady[1:]) * 1e6


SIDES = {
    ("saturated", "bare"): saturated_bare,
    ("saturated", "raw"): partial(saturated_bare, RawLoop),
    ("saturated", "ours"): saturated_ours,
    ("paced", "bare"): paced_bare,
    ("paced", "raw"): partial(paced_bare, RawLoop),
    ("paced", "ours"): paced_ours,
}


def compare(mode: str, name: str) -> dict[str, float]:
    """Run each side alone in its process, in turn; a ratio is the median of the turns' ratios."""
    turns = [{side: alone(mode, side) for side in ("bare", "ours", "raw")} for _ in range(TURNS)]
    return {
        f"{name}_to_bare_loop": round(median(each["ours"] / each["bare"] for each in turns), 2),
        f"{name}_us": round(median(each["ours"] for each in turns), 1),
        f"{name}_bare_loop_us": round(median(each["bare"] for each in turns), 1),
        f"{name}_to_raw_loop": round(median(each["ours"] / each["raw"] for each in turns), 2),
        f"{name}_raw_loop_us": round(median(each["raw"] for each in turns), 1),
    }


def alone(mode: str, side: str) -> float:
    """Return what one side prints in a process of its own."""
    command = [sys.executable, __file__, mode, side]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


if __name__ == "__main__":
    if sys.argv[1:]:
        print(uvloop.run(SIDES[sys.argv[1], sys.argv[2]]()))
    else:
        print(json.dumps(compare("saturated", "publish_cpu") | compare("paced", "paced_cpu")))
