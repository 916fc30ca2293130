"""CPU of a QoS 1 publish of 256 bytes with its PUBACK: the product against a bare loop.

The bare loop holds the same TLS connections and makes the same calls, ``Connection.send`` when a message is
due and ``Connection.recv`` when its socket is readable, and does nothing else: no codec, no session, no
samples, no report. Saturated, each keeps a message under way on every connection; paced, each connection has
a message a second, by the same pacer. The product is a whole shard that writes its run folder.

The product calls OpenSSL below pyOpenSSL's methods, which is part of what it saves. The raw loop is the bare
loop with the same short cut: what is left to the product over it is its own work alone.

    python publish.py                   all sides, saturated and paced, as one JSON object
    python publish.py paced             these alone
    python publish.py paced ours        one side alone: a window for each line of standard input
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections import deque
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple, Protocol

import uvloop
import windows
from bare import BareLoop, RawLoop
from rig import BrokenBenchmarkError, Members, issue, mosquitto, scenario

from simulator.clock import SECOND, now, wall
from simulator.identity.authority import Authority
from simulator.metrics.outcome import Outcome
from simulator.metrics.sample import Phase
from simulator.metrics.snapshot import SeriesKey
from simulator.report.folder import RunFolder
from simulator.report.run import Run
from simulator.shard import Shard, ShardPlan

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from simulator.brokers.broker import Broker
    from simulator.metrics.sample import Failure
    from simulator.metrics.snapshot import Snapshot

SATURATED_MESSAGES, PACED_SECONDS = 3_000, 1
"""How long a window is."""

CONNECTS = 100
"""How many devices connect a second: what each does every five seconds is spread out in this way."""

GRACE = 0.02
"""Seconds after a paced window, in which its last acknowledgements come."""


class Load(Protocol):
    """What a side has to offer, so that its windows can be measured as those of the others."""

    pacer: windows.InterruptedPacer
    size: int
    """How many connections there are."""
    acknowledged: int
    """How many messages were, up to the last second or later."""

    def send_next(self) -> None:
        """Publish on the connection that has waited for longest."""

    def on_ack(self, hook: Callable[[], None]) -> None:
        """Call this with each acknowledgement from now on."""


async def saturated(load: Load) -> float:
    """Keep one message under way on each connection for so many messages; CPU microseconds each."""
    done = asyncio.get_running_loop().create_future()
    left, awaited = SATURATED_MESSAGES - load.size, SATURATED_MESSAGES

    def refill() -> None:
        nonlocal left, awaited
        if left:
            left -= 1
            load.send_next()
        awaited -= 1
        if not awaited:
            done.set_result(None)

    load.on_ack(refill)
    load.pacer.go_on()
    started = time.process_time_ns()
    for _ in range(load.size):
        load.send_next()
    await done
    cpu = time.process_time_ns() - started
    load.pacer.hold()
    return cpu / SATURATED_MESSAGES / 1000


async def paced(load: Load) -> float:
    """Let the pacer send what is due in so many seconds; CPU microseconds a message."""
    over = asyncio.get_running_loop().create_future()
    before = load.acknowledged
    load.pacer.go_on()
    load.pacer.at(now() + PACED_SECONDS * SECOND, lambda _: over.set_result(None))
    started = time.process_time_ns()
    await over
    cpu = time.process_time_ns() - started
    load.pacer.hold()
    await asyncio.sleep(GRACE)
    return cpu / (load.acknowledged - before) / 1000


class Mode(NamedTuple):
    """How a comparison is made; ``every`` is between two messages that the pacer sends on a connection."""

    window: Callable[[Load], Awaitable[float]]
    figures: str
    devices: int
    every: str
    rounds: int


MODES = {
    "saturated": Mode(saturated, "publish_cpu", devices=200, every="24h", rounds=35),
    "paced": Mode(paced, "paced_cpu", devices=500, every="1s", rounds=15),
}


class Product(Shard):
    """A shard as a run has it, but for its pacer, whose time stands still between windows."""

    def __init__(self, plan: ShardPlan, folder: RunFolder) -> None:
        super().__init__(plan, emit=self._save, on_failure=refuse)
        self.pacer = self._pacer = windows.InterruptedPacer(self._loop)
        self.size = len(plan.members["bench"])
        self.acknowledged = 0
        self._folder = folder
        self._connected = asyncio.Event()

    def _save(self, snapshot: Snapshot) -> None:
        self._folder.write(snapshot)
        published = snapshot.series.get(SeriesKey("bench", Phase.PUBLISH))
        if published is not None:
            self.acknowledged += published.outcomes[Outcome.OK]
        if snapshot.devices["bench"].get("connected") == self.size:
            self._connected.set()

    async def connected(self) -> None:
        """Wait until every device is."""
        await self._connected.wait()
        self._ring = deque(self._devices["bench"].values())

    def send_next(self) -> None:
        """Publish on the device that has waited for longest."""
        self._ring[0].publish(now())
        self._ring.rotate(-1)

    def on_ack(self, hook: Callable[[], None]) -> None:
        """Call this with each acknowledgement from now on."""
        record = self._recorder.series("bench", Phase.PUBLISH).ok.append

        def publish_ok(sample: tuple[int, int, int]) -> None:
            record(sample)
            hook()

        self._contexts["bench"].publish_ok = publish_ok


def refuse(failure: Failure) -> None:
    raise BrokenBenchmarkError(f"nothing may fail here: {failure}")


@asynccontextmanager
async def bare_loop(
    kind: type[BareLoop], mode: Mode, members: Members, broker: Broker
) -> AsyncIterator[Load]:
    """Hold the connections of a bare loop."""
    bare = kind(members, broker)
    if mode.window is paced:
        bare.report_each_second()
    yield bare
    bare.close()


@asynccontextmanager
async def product(mode: Mode, members: Members, broker: Broker) -> AsyncIterator[Load]:
    """Run a shard of the product, into a folder."""
    connect = {"name": "connect", "connect": {"fleet": "bench", "rate": f"{CONNECTS}/s"}, "duration": "1h"}
    plan = ShardPlan(
        scenario(len(members), [connect], every=mode.every),
        {"bench": members},
        broker.endpoints,
        broker.trust,
        broker.server_name,
    )
    about = Run(scenario="b", title="b", seed=1, started=wall(), broker="mosquitto", lag_limit=SECOND)
    with tempfile.TemporaryDirectory() as path, RunFolder.create(Path(path) / "run", about, "") as folder:
        shard = Product(plan, folder)
        await shard.prepare()
        async with asyncio.TaskGroup() as group:
            group.create_task(shard.run(now() + SECOND // 20), name="shard")
            await shard.connected()
            yield shard
            shard.stop()


SIDES: dict[str, Callable[[Mode, Members, Broker], AbstractAsyncContextManager[Load]]] = {
    "bare": partial(bare_loop, BareLoop),
    "raw": partial(bare_loop, RawLoop),
    "ours": product,
}


async def take_side(mode: Mode, side: str) -> None:
    """Be one side of a comparison, until standard input ends."""
    authority = Authority.create("Benchmark")
    members = issue(mode.devices, authority)
    processors = windows.processors()
    windows.stay_on(processors[-1])
    async with mosquitto(authority) as broker:
        windows.stay_on(processors[0])
        async with SIDES[side](mode, members, broker) as load:
            await windows.take(partial(mode.window, load))


def compare(name: str) -> dict[str, object]:
    """Let the sides take turns, and return their figures and ratios."""
    mode = MODES[name]
    figures = windows.compare({side: [__file__, name, side] for side in SIDES}, mode.rounds)
    document: dict[str, object] = {}
    for other in ("bare", "raw"):
        ratio, quartiles = windows.ratio(figures["ours"], figures[other])
        document[f"{mode.figures}_to_{other}_loop"] = ratio
        document[f"{mode.figures}_to_{other}_loop_quartiles"] = quartiles
    names = {"ours": "us", "bare": "bare_loop_us", "raw": "raw_loop_us"}
    return document | {f"{mode.figures}_{names[side]}": round(median(figures[side]), 1) for side in names}


def main() -> None:
    match sys.argv[1:]:
        case [mode, side]:
            uvloop.run(take_side(MODES[mode], side))
        case chosen:
            figures = [compare(mode) for mode in chosen or MODES]
            print(json.dumps(dict(item for each in figures for item in each.items())))


if __name__ == "__main__":
    main()
