"""A run with two fleets, played into a folder through a real recorder: seeded, so its figures are known."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from simulator.clock import MICROSECOND, MILLISECOND, SECOND
from simulator.metrics.delivery import DeliveryCounts, DeliveryKey, DeviceDelivery, Hearing
from simulator.metrics.recorder import Recorder
from simulator.metrics.sample import Phase
from simulator.metrics.snapshot import ArrivalOf
from simulator.report.folder import RunFolder
from simulator.report.run import Run, Stage

if TYPE_CHECKING:
    from pathlib import Path

SCENARIO = 'title = "Two fleets"\n'

RUN = Run(
    scenario="two-fleets",
    title="Two fleets connect, one of them with certificates that the broker does not trust",
    seed=7,
    started=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    broker="mosquitto 2.0.11, 127.0.0.1:8883, client certificates required",
    endpoints=("127.0.0.1:8883",),
    fleets={"core2": 20, "gateway": 5},
    stages=(Stage("ramp", 0, 2 * SECOND), Stage("steady", 2 * SECOND, 4 * SECOND)),
    thresholds={"core2.connect.p99": "< 1s", "core2.connected": "== 100%"},
    lag_limit=100 * MILLISECOND,
    versions={"simulator": "0.1.0"},
)


HEARING = Hearing(
    messages=100,
    retained=1,
    strangers=2,
    spent=6_500_000,
    breaks=1,
    away=SECOND // 4,
    lag_p50=0,
    lag_p99=4_000,
    lag_max=90_000,
)


def delivery(device: str, **counts: int) -> DeviceDelivery:
    key = DeliveryKey("core2", Phase.DELIVER, 1)
    return DeviceDelivery(device, key, DeliveryCounts(sent=10, **counts), 1_500, 20_000)


DELIVERIES = (
    delivery("00001", delivered=10),
    delivery("00002", delivered=9, lost=1, duplicated=2),
    delivery("00003", delivered=7, lost=3),
    delivery("00004", delivered=8, unconfirmed=1, unobserved=1, reordered=4),
)


@dataclass
class Play:
    """Plays a run second by second; ``lag`` is how late each arrival starts."""

    folder: RunFolder
    lag: int = 400 * MICROSECOND
    refused: bool = True
    noise: random.Random = field(default_factory=lambda: random.Random(7))
    connected: int = 0
    shard: int = 0

    def __post_init__(self) -> None:
        self.recorder = Recorder(shard=self.shard, origin=0, on_failure=self.folder.fail)

    def second(self, number: int) -> None:
        """Play one second: ten core2 connect in each of the first two, and publish once all are there."""
        start = number * SECOND
        self.recorder.stage = "ramp" if number < 2 else "steady"
        if number < 2:
            for index in range(10):
                self.connect(start + index * 100 * MILLISECOND)
            if self.refused:
                self.refuse(start)
        elif number < 4:
            self.observe()
            for index in range(100):
                self.publish(start + index * 10 * MILLISECOND)
        else:
            self.connected = 0
            self.recorder.draining = True
        self.snapshot(start + SECOND)

    def snapshot(self, at: int) -> None:
        devices = {
            "core2": Counter(connected=self.connected, idle=20 - self.connected),
            "gateway": {"idle": 5},
        }
        taken = self.recorder.snapshot(at, devices=devices, cpu=SECOND // 4, rss=64 << 20)
        self.folder.write(taken)

    def connect(self, due: int) -> None:
        counter = self.recorder.arrivals("core2", ArrivalOf.CONNECT)
        counter.due += 1
        counter.started += 1
        begun = now = due + self.lag
        for phase, typical in (
            (Phase.TCP_CONNECT, 200 * MICROSECOND),
            (Phase.TLS_HANDSHAKE, 5 * MILLISECOND),
            (Phase.MQTT_CONNECT, 2 * MILLISECOND),
        ):
            finished = now + self.noise.randrange(typical, 2 * typical)
            self.recorder.series("core2", phase).ok.append((now - self.lag, now, finished))
            now = finished
        self.recorder.series("core2", Phase.CONNECT).ok.append((due, begun, now))
        self.connected += 1

    def refuse(self, due: int) -> None:
        counter = self.recorder.arrivals("gateway", ArrivalOf.CONNECT)
        counter.due += 1
        counter.started += 1
        begun = due + self.lag
        reached = begun + MILLISECOND
        self.recorder.series("gateway", Phase.TCP_CONNECT).ok.append((due, begun, reached))
        self.recorder.fail(
            "gateway",
            "00003",
            Phase.TLS_HANDSHAKE,
            "unknown_ca",
            "the broker sent the alert [unknown_ca]",
            due=due + MILLISECOND,
            started=reached,
            finished=reached + 8 * MILLISECOND,
        )

    def observe(self) -> None:
        """Hear nine of ten messages, one of them twice."""
        counts = self.recorder.deliveries("core2", Phase.DELIVER, 1)
        counts.add(DeliveryCounts(sent=10, delivered=9, lost=1, duplicated=1))

    def publish(self, due: int) -> None:
        counter = self.recorder.arrivals("core2", ArrivalOf.MESSAGE)
        counter.due += 1
        if self.noise.random() < 0.05:
            counter.dropped += 1
            return
        counter.started += 1
        begun = due + self.lag
        finished = begun + self.noise.randrange(MILLISECOND, 9 * MILLISECOND)
        self.recorder.series("core2", Phase.PUBLISH).ok.append((due, begun, finished))


def play(
    path: Path, *, run: Run = RUN, seconds: int = 5, lag: int = 400 * MICROSECOND, refused: bool = True
) -> RunFolder:
    """Return the folder of a run that was played but not closed; in the fifth second all devices leave."""
    folder = RunFolder.create(path, run, SCENARIO)
    playing = Play(folder, lag, refused)
    for number in range(seconds):
        playing.second(number)
    return folder
