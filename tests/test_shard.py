"""A shard from its plan to its last snapshot, against a peer that sees every packet, and a real broker."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from simulator.brokers.embedded import EmbeddedBroker
from simulator.clock import MILLISECOND, SECOND, now
from simulator.devices.virtual import VirtualDevice
from simulator.errors import BrokerUnreachableError, UsageError
from simulator.identity.authority import Authority
from simulator.identity.credential import Credential
from simulator.link.openssl import LoadedCredential
from simulator.metrics.outcome import Outcome
from simulator.metrics.sample import Phase
from simulator.metrics.snapshot import ArrivalKey, ArrivalOf, Totals
from simulator.mqtt.packets import Connect, PubAck, Publish
from simulator.scenario.kinds import Endpoint
from simulator.scenario.model import Scenario
from simulator.shard import Shard, ShardPlan
from simulator.timetable import Part, timetable
from tests.brokers.wire import Papers
from tests.support.brokers import running
from tests.support.changes import SECONDS, Changes
from tests.support.observer import observing
from tests.support.peer import Peer
from tests.support.tls import server_context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from simulator.brokers.managed import ManagedBroker
    from simulator.metrics.sample import Failure
    from simulator.metrics.snapshot import Snapshot

DEVICES = 10
TELEMETRY = {"topic": "fleet/{device}/telemetry", "every": "50ms", "qos": 1}
CONNECT = {"name": "ramp", "connect": {"fleet": "core2", "rate": "200/s"}}


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create("Fleet")


@pytest.fixture(scope="module")
def brokers() -> Authority:
    return Authority.create("Broker")


@pytest.fixture(scope="module")
def members(authority: Authority) -> list[tuple[str, Credential]]:
    names = [f"core2-{number:05}" for number in range(DEVICES)]
    return list(zip(names, authority.issue_devices(names), strict=True))


class Stage:
    """A shard's whole surroundings: a peer, and what the shard told."""

    def __init__(self, peer: Peer, trust: bytes, members: list[tuple[str, Credential]]) -> None:
        self.peer = peer
        self.snapshots: list[Snapshot] = []
        self.failures: list[Failure] = []
        self._trust = trust
        self._members = members

    def shard(self, *stages: dict[str, Any], part: Part | None = None, **settings: Any) -> Shard:
        limits = settings.pop("limits", {})
        self.scenario = Scenario.model_validate(
            {
                "title": "A test",
                "seed": 7,
                "fleet": {"core2": {"devices": DEVICES, "telemetry": TELEMETRY} | settings},
                "stage": list(stages),
                "limits": limits,
            }
        )
        plan = ShardPlan(
            self.scenario,
            {"core2": self._members},
            (self.peer.endpoint,),
            (self._trust,),
            None,
        ).share(part or Part())
        return Shard(plan, emit=self.take, on_failure=self.failures.append)

    def take(self, snapshot: Snapshot) -> None:
        self.snapshots.append(snapshot)

    @property
    def totals(self) -> Totals:
        totals = Totals()
        for snapshot in self.snapshots:
            totals.add(snapshot)
        return totals


@pytest.fixture
async def stage(
    authority: Authority, brokers: Authority, members: list[tuple[str, Credential]]
) -> AsyncIterator[Stage]:
    context = server_context(brokers.issue_server(["127.0.0.1"]), client_trust=[authority.root])
    async with Peer(context, Changes()) as peer:
        yield Stage(peer, brokers.root, members)


async def run(shard: Shard) -> None:
    async with asyncio.timeout(SECONDS):
        await shard.prepare()
        await shard.run(now())


def packets(peer: Peer) -> Counter[str]:
    return Counter(type(packet).__name__ for packet in peer.packets)


async def goodbyes(peer: Peer, number: int) -> None:
    """Wait until so many devices have sent DISCONNECT, and all have closed."""
    await peer.changes.until(lambda: not any(each.open for each in peer.connections))
    assert packets(peer)["Disconnect"] == number


async def test_stages_follow_each_other_with_a_snapshot_at_each_end_and_each_second(stage: Stage) -> None:
    hold = {"name": "hold", "duration": "1100ms"}
    leave = {"name": "leave", "disconnect": {"fleet": "core2", "share": 0.5, "rate": "100/s"}}
    await run(stage.shard(CONNECT, hold, leave))
    snapshots = stage.snapshots
    assert [snapshot.start for snapshot in snapshots] == [0, *(one.end for one in snapshots[:-1])]
    times = timetable(stage.scenario)
    wanted = sorted([*(each.end for each in times), SECOND])
    assert len(snapshots) == len(wanted) + 1, "and one when everybody has left"
    for snapshot, at in zip(snapshots, wanted, strict=False):
        assert at <= snapshot.end < at + 500 * MILLISECOND
    assert snapshots[0].arrivals[ArrivalKey("core2", ArrivalOf.CONNECT)].due == DEVICES
    assert [sum(one.devices["core2"].values()) for one in snapshots] == [DEVICES] * len(snapshots)
    assert snapshots[-1].devices["core2"]["idle"] == DEVICES
    assert all(one.rss > 0 for one in snapshots)
    assert sum(one.cpu for one in snapshots) > 0


async def test_counts_are_what_the_broker_saw(stage: Stage) -> None:
    publish = {"fleet": "core2", "rate": "100/s", "qos": 2}
    await run(
        stage.shard(
            CONNECT | {"duration": "1s"},
            {"name": "load", "duration": "300ms", "publish": publish},
            {"name": "cut", "reconnect": {"fleet": "core2", "share": 0.5, "within": "100ms", "abrupt": True}},
            {"name": "rest", "duration": "500ms"},  # a device on its way is not asked to move
            {"name": "move", "reconnect": {"fleet": "core2", "share": 0.3, "rate": "100/s"}},
            {"name": "calm", "duration": "500ms"},
            {"name": "leave", "disconnect": {"fleet": "core2", "share": 0.4, "within": "50ms"}},
        )
    )
    await goodbyes(stage.peer, DEVICES + 3)  # all but the five that were cut
    totals, seen, peer = stage.totals, packets(stage.peer), stage.peer
    assert stage.failures == []
    assert totals.outcomes(phase=Phase.CONNECT) == {"ok": DEVICES + 5 + 3}
    assert seen["Connect"] == DEVICES + 5 + 3
    messages = totals.arrivals(of=ArrivalOf.MESSAGE)
    assert messages.due == messages.started + messages.offline + messages.dropped
    published = totals.outcomes(phase=Phase.PUBLISH)
    assert published.total() == messages.started
    assert published[Outcome.OK] == messages.started - published[Outcome.CUT_OFF]
    assert published[Outcome.OK] <= seen["Publish"] <= messages.started
    assert sum(packet.qos == 2 for packet in peer.of(Publish)) == 30
    assert set(totals.phases("core2")) == {
        Phase.TCP_CONNECT,
        Phase.TLS_HANDSHAKE,
        Phase.MQTT_CONNECT,
        Phase.CONNECT,
        Phase.PUBLISH,
    }


def hold_up(nanoseconds: int) -> None:
    """Let nothing happen on this loop, neither in the shard nor in the peer."""
    time.sleep(nanoseconds / SECOND)


async def test_the_same_seed_makes_the_same_messages_due_in_each_stage(stage: Stage) -> None:
    """Whatever the broker's pace, and however late the loop is at the end of a stage."""
    storm = {"name": "storm", "reconnect": {"fleet": "core2", "share": 0.5, "within": "200ms"}}
    leave = {"name": "leave", "disconnect": {"fleet": "core2", "share": 0.5, "within": "100ms"}}
    rest = {"name": "rest", "duration": "300ms"}
    runs: list[Counter[tuple[str, ArrivalOf]]] = []
    for pace in (0, 30 * MILLISECOND):
        stage.snapshots.clear()
        shard = stage.shard(CONNECT, storm, leave, rest, mqtt="3.1.1")
        await shard.prepare()
        running_shard = asyncio.create_task(shard.run(now()))
        while not running_shard.done():
            hold_up(pace)
            await asyncio.sleep(0.001)
        await running_shard
        due: Counter[tuple[str, ArrivalOf]] = Counter()
        for snapshot in stage.snapshots:
            for key, counts in snapshot.arrivals.items():
                due[snapshot.stage, key.of] += counts.due - counts.retries
        runs.append(due)
    assert runs[0]["rest", ArrivalOf.MESSAGE] > 20
    assert runs[0] == runs[1]


async def test_stopped_in_the_middle_everybody_says_goodbye(stage: Stage) -> None:
    shard = stage.shard(CONNECT, {"name": "hold", "duration": "1h"}, {"name": "never", "duration": "1h"})
    await shard.prepare()
    running_shard = asyncio.create_task(shard.run(now()))
    await stage.peer.takes(Publish, 20)
    shard.stop()
    async with asyncio.timeout(SECONDS):
        await running_shard
    await goodbyes(stage.peer, DEVICES)
    assert stage.failures == []
    assert stage.snapshots[-1].devices["core2"]["idle"] == DEVICES
    assert len(stage.snapshots) <= 5, "no snapshot for a stage that was not begun"


@pytest.mark.parametrize("when", ["before", "meanwhile"])
async def test_stopped_it_does_not_wait_for_what_never_comes(stage: Stage, when: str) -> None:
    """Neither for its linger nor for an acknowledgement."""
    stage.peer.mute.add(Publish)
    lingering = asyncio.Event()

    async def linger() -> None:
        lingering.set()
        await asyncio.Event().wait()

    hold = {"name": "hold", "duration": "1h" if when == "before" else "100ms"}
    shard = stage.shard(CONNECT | {"duration": "300ms"}, hold, limits={"drain": "1h"})
    shard._linger = linger
    await shard.prepare()
    running_shard = asyncio.create_task(shard.run(now()))
    await (stage.peer.takes(Publish, DEVICES) if when == "before" else lingering.wait())
    began = now()
    shard.stop()
    async with asyncio.timeout(SECONDS):
        await running_shard
    assert now() - began < 4 * SECOND
    assert lingering.is_set()
    await goodbyes(stage.peer, DEVICES)


async def test_stopped_among_arrivals_no_more_are_begun(stage: Stage) -> None:
    slow = {"name": "ramp", "connect": {"fleet": "core2", "rate": "1/s"}}
    shard = stage.shard(slow)
    await shard.prepare()
    running_shard = asyncio.create_task(shard.run(now()))
    await stage.peer.takes(Connect)
    shard.stop()
    async with asyncio.timeout(SECONDS):
        await running_shard
    await goodbyes(stage.peer, 1)
    assert packets(stage.peer)["Connect"] == 1


async def test_stopped_before_it_began(stage: Stage) -> None:
    shard = stage.shard(CONNECT)
    shard.stop()
    await run(shard)
    assert stage.peer.packets == []
    assert len(stage.snapshots) == 1


async def test_a_bug_in_a_callback_ends_the_run_in_order_and_is_raised(stage: Stage) -> None:
    def broken(snapshot: Snapshot) -> None:
        stage.snapshots.append(snapshot)
        if len(stage.snapshots) == 2:  # the first second's: called by the pacer
            raise RuntimeError("a bug")

    shard = stage.shard(CONNECT, {"name": "hold", "duration": "1h"})
    shard._emit = broken
    with pytest.raises(RuntimeError, match=r"^a bug$"):
        await run(shard)
    await goodbyes(stage.peer, DEVICES)
    assert asyncio.get_running_loop().get_exception_handler() is None


async def test_a_bug_in_an_attempt_ends_the_run_and_is_raised(stage: Stage) -> None:
    shard = stage.shard(CONNECT, {"name": "hold", "duration": "1h"})
    (_, last), (_, other) = stage._members[-1], stage._members[0]
    await shard.prepare()
    device = shard._devices["core2"][DEVICES - 1]
    assert isinstance(device, VirtualDevice)
    device._credential = LoadedCredential(Credential(last.certificate, other.key))
    with pytest.raises(ExceptionGroup) as raised:
        async with asyncio.timeout(SECONDS):
            await shard.run(now())
    (error,) = raised.value.exceptions
    assert str(error) == "this private key is not that of the certificate"
    await stage.peer.changes.until(lambda: not any(each.open for each in stage.peer.connections))


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda one, other: Credential(one.certificate, other.key, one.chain), "not that of the certificate"),
        (
            lambda one, _: Credential(one.certificate[:100], one.key, one.chain),
            "cannot read this certificate",
        ),
        (
            lambda one, _: Credential(one.certificate, b"no key", one.chain),
            "cannot read this certificate and",
        ),
        (lambda one, _: Credential(one.certificate, one.key, (b"no chain",)), "chain of this certificate"),
    ],
    ids=["a key of another", "half a certificate", "no key", "no chain"],
)
async def test_a_credential_that_cannot_be_used_is_found_before_the_first_stage(
    stage: Stage, spoil: Callable[[Credential, Credential], Credential], why: str
) -> None:
    shard = stage.shard(CONNECT)
    (name, last), (_, other) = stage._members[-1], stage._members[0]
    shard._plan.members["core2"] = [*stage._members[:-1], (name, spoil(last, other))]
    with pytest.raises(UsageError, match=f"device {name} of fleet core2 cannot be used: .*{why}"):
        await shard.prepare()
    assert stage.peer.connections == []


async def test_what_is_unfinished_at_the_end_is_counted_in_the_last_snapshot(stage: Stage) -> None:
    stage.peer.mute.add(Publish)
    publish = {"fleet": "core2", "rate": "100/s"}
    load = {"name": "load", "duration": "100ms", "publish": publish}
    await run(
        stage.shard(
            CONNECT | {"duration": "300ms"},
            load,
            telemetry=TELEMETRY | {"every": "1h"},
            limits={"drain": "50ms"},
        )
    )
    outcomes = stage.totals.outcomes(phase=Phase.PUBLISH)
    assert outcomes == {Outcome.UNFINISHED: 10}
    assert len(stage.failures) == 10
    assert {failure.stage for failure in stage.failures} == {"load"}
    await goodbyes(stage.peer, DEVICES)


async def test_an_attempt_that_is_unfinished_at_the_end_is_counted_too(stage: Stage) -> None:
    stage.peer.mute.add(Connect)
    await run(stage.shard(CONNECT, limits={"drain": "50ms"}))
    assert stage.totals.outcomes(phase=Phase.CONNECT) == {Outcome.UNFINISHED: DEVICES}
    assert len(stage.failures) == DEVICES
    assert stage.snapshots[-1].devices["core2"]["idle"] == DEVICES


async def test_the_drain_waits_for_what_is_under_way(stage: Stage) -> None:
    stage.peer.mute.add(Publish)
    load = {"name": "load", "duration": "10ms", "publish": {"fleet": "core2", "rate": "100/s"}}
    shard = stage.shard(CONNECT | {"duration": "300ms"}, load, telemetry=TELEMETRY | {"every": "1h"})
    await shard.prepare()
    running_shard = asyncio.create_task(shard.run(now()))
    await stage.peer.changes.until(lambda: packets(stage.peer)["Disconnect"] == DEVICES - 1)
    late = stage.peer.of(Publish)[0]
    (waiting,) = (each for each in stage.peer.connections if each.server and each.server.took(late))
    waiting.send(PubAck(late.packet_id or 0))
    async with asyncio.timeout(SECONDS):
        await running_shard
    assert stage.totals.outcomes(phase=Phase.PUBLISH) == {"ok": 1}
    await goodbyes(stage.peer, DEVICES)


async def test_two_parts_do_together_what_one_does(stage: Stage) -> None:
    def loaded(part: Part) -> Shard:
        publish = {"fleet": "core2", "rate": "200/s", "arrivals": "poisson"}
        load = {"name": "load", "duration": "200ms", "publish": publish}
        telemetry = TELEMETRY | {"every": "1h"}
        return stage.shard(CONNECT | {"duration": "1s"}, load, part=part, telemetry=telemetry)

    await run(loaded(Part()))
    whole = stage.totals
    alone = Counter(packet.topic for packet in stage.peer.of(Publish))
    stage.snapshots.clear()
    stage.peer.packets.clear()
    parts = [loaded(Part(0, 2)), loaded(Part(1, 2))]
    for shard in parts:
        await shard.prepare()
    start = now()
    await asyncio.gather(*(shard.run(start) for shard in parts))
    halves = stage.totals
    assert {snapshot.shard for snapshot in stage.snapshots} == {0, 1}
    assert halves.outcomes() == whole.outcomes()
    assert halves.arrivals() == whole.arrivals()
    assert halves.devices["core2"]["idle"] == DEVICES
    assert Counter(packet.topic for packet in stage.peer.of(Publish)) == alone
    assert sorted(packet.client_id for packet in stage.peer.of(Connect)) == [
        name for name, _ in stage._members
    ]
    assert stage.failures == []


async def test_a_part_has_its_share_of_the_places_to_connect(stage: Stage) -> None:
    shard = stage.shard(CONNECT, part=Part(1, 2), limits={"connecting": 5})
    await shard.prepare()
    assert shard._contexts["core2"].gate.limit == 2
    assert sorted(shard._devices["core2"]) == [1, 3, 5, 7, 9]
    shard._pacer.stop()


async def test_a_broker_without_an_address_is_told_before_there_is_load(stage: Stage) -> None:
    stage.peer.endpoint = Endpoint("broker.invalid", 8883)
    shard = stage.shard(CONNECT)
    with pytest.raises(BrokerUnreachableError, match=r"broker\.invalid"):
        await shard.prepare()
    shard._pacer.stop()


async def test_settings_that_openssl_refuses_are_told_before_there_is_load(stage: Stage) -> None:
    shard = stage.shard(CONNECT, groups=["P-999"])
    with pytest.raises(UsageError, match="P-999"):
        await shard.prepare()
    shard._pacer.stop()


@pytest.fixture(scope="module")
def embedded(authority: Authority) -> Iterator[ManagedBroker]:
    with running(lambda: EmbeddedBroker([authority.root])) as broker:
        yield broker


async def test_the_embedded_broker_hears_every_message_of_both_parts(
    stage: Stage, embedded: ManagedBroker, authority: Authority, tmp_path: Path
) -> None:
    stage.peer.endpoint = embedded.endpoints[0]
    stage._trust = embedded.trust[0]
    context = Papers.issue(authority, "observer", tmp_path).context(embedded)
    async with observing(embedded, context, "fleet/#") as observer:
        hold = {"name": "hold", "duration": "300ms"}
        parts = [stage.shard(CONNECT, hold, part=Part(index, 2)) for index in range(2)]
        for shard in parts:
            await shard.prepare()
        start = now()
        async with asyncio.timeout(SECONDS):
            await asyncio.gather(*(shard.run(start) for shard in parts))
        sent = stage.totals.outcomes(phase=Phase.PUBLISH)[Outcome.OK]
        said = await observer.hears_of(sent)
    numbers: dict[str, list[int]] = {}
    for each in said:
        numbers.setdefault(each["device"], []).append(each["n"])
    assert stage.failures == []
    assert sorted(numbers) == [name for name, _ in stage._members]
    for counted in numbers.values():
        assert counted == list(range(1, len(counted) + 1)), "none lost, none twice, in order"
