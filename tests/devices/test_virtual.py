"""The virtual device against a scripted peer: every fault that a broker can make, and what becomes of it."""

from __future__ import annotations

import asyncio
import gc
import ssl
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

import pytest

from simulator.clock import SECOND, now
from simulator.devices import noise
from simulator.devices.assignment import endpoint_of
from simulator.devices.attempt import Attempt
from simulator.devices.device import DeviceState
from simulator.identity.authority import Authority
from simulator.link.failure import LinkError
from simulator.link.link import Link
from simulator.link.source import SourceAddress
from simulator.metrics.outcome import Outcome
from simulator.metrics.sample import Phase
from simulator.metrics.snapshot import SeriesKey
from simulator.mqtt.packets import (
    ConnAck,
    Connect,
    Disconnect,
    PingReq,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    SubAck,
    Subscribe,
    Subscription,
    Will,
)
from tests.devices.conftest import TELEMETRY
from tests.support.listener import Listener
from tests.support.tls import VERSIONS, server_context

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from simulator.devices.virtual import VirtualDevice
    from simulator.identity.credential import Credential
    from simulator.scenario.kinds import TlsVersion
    from tests.devices.conftest import Stand
    from tests.support.peer import Peer
    from tests.support.rig import Rig

SetUp: TypeAlias = "Callable[..., AbstractAsyncContextManager[Stand]]"
both = pytest.mark.parametrize("mqtt", ["3.1.1", "5.0"])
NEVER = {"enabled": False}


def aim_at(listener: Listener, rig: Rig) -> None:
    """Let the devices connect to a listener that a test serves by hand."""
    (target,) = rig.context.targets
    rig.context.targets = (target._replace(address=listener.address),)


# Connecting.


@both
async def test_connects_with_all_that_the_fleet_says(stand: SetUp, mqtt: str) -> None:
    settings = {
        "mqtt": mqtt,
        "client_id": "id-{device}",
        "username": "{fleet}",
        "password": "secret of {device}",
        "will": {"topic": "gone/{device}", "payload": "{fleet}", "qos": 1, "retain": True},
        "keepalive": "30s",
    }
    async with stand(**settings) as (rig, peer, credential):
        device = await rig.connected(credential)
        connect = await peer.takes(Connect)
        assert connect.client_id == "id-core2-00000"
        assert (connect.username, connect.password) == ("core2", b"secret of core2-00000")
        assert connect.will == Will("gone/core2-00000", b"core2", 1, True)
        assert (connect.keepalive, connect.clean_start) == (30, True)
        assert device.state is DeviceState.CONNECTED
        certificate = peer.connection.transport.get_extra_info("ssl_object").getpeercert(True)
        assert certificate == credential.certificate


async def test_each_phase_is_timed_apart(stand: SetUp) -> None:
    async with stand() as (rig, peer, credential):
        peer.mute.add(Connect)
        device = rig.add(credential)
        due = now()
        device.connect(due)
        await peer.takes(Connect)
        mark = now()
        peer.connection.send(ConnAck())
        await rig.comes_to(device, DeviceState.CONNECTED)
        ((tcp_due, tcp_started, tcp_finished),) = rig.ok(Phase.TCP_CONNECT)
        ((tls_due, tls_started, tls_finished),) = rig.ok(Phase.TLS_HANDSHAKE)
        ((mqtt_due, mqtt_started, answered),) = rig.ok(Phase.MQTT_CONNECT)
        assert due == tcp_due <= tcp_started <= tcp_finished == tls_started < tls_finished <= mqtt_started
        assert mqtt_started < mark < answered
        assert rig.ok(Phase.CONNECT) == [(due, tcp_started, answered)]
        lag = tcp_started - due
        assert (tls_started - tls_due, mqtt_started - mqtt_due) == (lag, lag), "a phase holds no other's time"


async def test_connecting_twice_is_connecting_once(stand: SetUp) -> None:
    async with stand() as (rig, peer, credential):
        device = rig.add(credential)
        device.connect(now())
        device.connect(now())
        await rig.comes_to(device, DeviceState.CONNECTED)
        device.connect(now())
        connects = rig.context.connects
        assert (connects.due, connects.started, connects.dropped) == (2, 1, 1), (
            "the second while it was on its way"
        )
        assert len(peer.connections) == 1


@pytest.mark.parametrize(
    ("mqtt", "code", "name"),
    [
        ("3.1.1", 5, "not_authorized"),
        ("3.1.1", 4, "bad_user_name_or_password"),
        ("3.1.1", 3, "server_unavailable"),
        ("5.0", 0x87, "not_authorized"),
        ("5.0", 0x97, "quota_exceeded"),
    ],
)
async def test_a_refusal_has_the_name_of_its_code(stand: SetUp, mqtt: str, code: int, name: str) -> None:
    async with stand(mqtt=mqtt, connack=ConnAck(code=code), reconnect=NEVER) as (rig, _, credential):
        device = rig.add(credential)
        device.connect(now())
        failure = await rig.fails()
        assert (failure.phase, failure.outcome) == (Phase.MQTT_CONNECT, name)
        assert failure.detail == f"the broker answered CONNACK {name}"
        assert failure.due <= failure.started <= failure.finished
        assert device.state is DeviceState.IDLE
        assert len(rig.ok(Phase.TLS_HANDSHAKE)) == 1
        assert rig.ok(Phase.CONNECT) == []


async def test_a_failed_attempt_leaves_nothing_for_the_collector(stand: SetUp) -> None:
    """During a run nothing old is collected: cycles would be memory that grows with each failure."""
    connack = ConnAck(code=5)
    gc.collect()
    gc.disable()
    try:
        async with stand(connack=connack, reconnect={"first": "1ms", "most": "2ms"}) as (rig, _, credential):
            rig.add(credential).connect(now())
            await rig.fails(5)
        left = [type(each) for each in gc.get_objects() if isinstance(each, (Attempt, Link, LinkError))]
    finally:
        gc.enable()
    assert left == []


async def test_a_refusal_may_say_why(stand: SetUp) -> None:
    connack = ConnAck(code=0x87, reason_string="no such tenant")
    async with stand(mqtt="5.0", connack=connack, reconnect=NEVER) as (rig, _, credential):
        rig.add(credential).connect(now())
        assert (await rig.fails()).detail == "the broker answered CONNACK not_authorized: no such tenant"


@both
@pytest.mark.parametrize("finishing", [True, False])
async def test_a_broker_that_accepts_and_hangs_up_in_one_breath(
    stand: SetUp, mqtt: str, *, finishing: bool
) -> None:
    settings = {"mqtt": mqtt, "reconnect": NEVER, "subscribe": [{"topic": "commands/{device}"}]}
    async with stand(**settings) as (rig, peer, credential):
        peer.mute.add(Connect)
        device = rig.add(credential)
        device.connect(now())
        await peer.takes(Connect)
        rig.context.finishing = finishing
        farewell = Disconnect(0x97) if mqtt == "5.0" else ConnAck()
        peer.connection.send(ConnAck(), farewell)
        failure = await rig.fails()
        expected = "quota_exceeded" if mqtt == "5.0" else Outcome.PROTOCOL_ERROR
        assert (failure.phase, failure.outcome) == (Phase.SESSION, expected)
        assert device.state is DeviceState.IDLE
        assert len(rig.ok(Phase.CONNECT)) == 1


@pytest.mark.parametrize(("data", "outcome"), [(b"\xc0\x00", "protocol_error"), (b"", "timeout")])
async def test_a_broker_that_answers_connect_with_something_else(
    stand: SetUp, data: bytes, outcome: str
) -> None:
    async with stand(reconnect=NEVER, connect_timeout="300ms") as (rig, peer, credential):
        peer.mute.add(Connect)
        rig.add(credential).connect(now())
        await peer.takes(Connect)
        peer.connection.write(data)
        failure = await rig.fails()
        assert (failure.phase, failure.outcome) == (Phase.MQTT_CONNECT, outcome)


async def test_a_broker_that_hangs_up_instead_of_answering(stand: SetUp) -> None:
    async with stand(reconnect=NEVER) as (rig, peer, credential):
        peer.mute.add(Connect)
        rig.add(credential).connect(now())
        await peer.takes(Connect)
        peer.connection.close()
        failure = await rig.fails()
        assert (failure.phase, failure.outcome) == (Phase.MQTT_CONNECT, Outcome.CLOSED)


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_refused_certificate_is_a_failure_of_tls(
    stand: SetUp, server: Credential, fleet_authority: Authority, version: TlsVersion
) -> None:
    async with stand(reconnect=NEVER) as (rig, _, _):
        with Listener() as listener:
            aim_at(listener, rig)
            context = server_context(server, client_trust=[fleet_authority.root], version=version)
            serving = asyncio.create_task(asyncio.to_thread(listener.shake_hands, context))
            rig.add(Authority.create("Fleet").issue_device("core2-00000")).connect(now())
            with pytest.raises(ssl.SSLError):
                await serving
            listener.close_last()
            failure = await rig.fails()
        assert (failure.phase, failure.outcome) == (Phase.TLS_HANDSHAKE, "unknown_ca")
        assert (len(rig.ok(Phase.TCP_CONNECT)), rig.ok(Phase.TLS_HANDSHAKE)) == (1, [])
        assert failure.started == rig.ok(Phase.TCP_CONNECT)[0][2]
        assert rig.context.recorder.snapshot(now(), devices={}, cpu=0, rss=0).series[
            SeriesKey("core2", Phase.CONNECT)
        ].outcomes == {"unknown_ca": 1}


async def test_the_gate_drops_what_is_over_its_limit(stand: SetUp) -> None:
    async with stand(connecting=2, reconnect=NEVER) as (rig, peer, credential):
        peer.mute.add(Connect)
        devices = [rig.add(credential, index) for index in range(3)]
        for device in devices:
            device.connect(now())
        counts = rig.context.connects
        assert (counts.due, counts.started, counts.dropped) == (3, 2, 1)
        assert [device.state for device in devices] == [
            DeviceState.CONNECTING,
            DeviceState.CONNECTING,
            DeviceState.IDLE,
        ]
        await peer.takes(Connect, 2)
        for connection in peer.connections:
            connection.send(ConnAck())
        await rig.changes.until(lambda: rig.gate.used == 0)
        peer.mute.clear()
        devices[2].connect(now())
        await rig.comes_to(devices[2], DeviceState.CONNECTED)


# Telemetry.


@both
@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_publishes_and_measures(stand: SetUp, mqtt: str, qos: int) -> None:
    async with stand(mqtt=mqtt) as (rig, peer, credential):
        device = await rig.connected(credential)
        dues = [now() - 1000, now()]
        for due in dues:
            device.publish(due, qos)
        await rig.succeeds(Phase.PUBLISH, 2)
        second = await peer.takes(Publish, 2)
        assert (second.topic, second.qos, second.retain) == ("fleet/core2-00000/telemetry", qos, False)
        assert [sample[0] for sample in rig.ok(Phase.PUBLISH)] == dues
        assert all(due <= started <= finished for due, started, finished in rig.ok(Phase.PUBLISH))
        counts = rig.context.messages
        assert (counts.due, counts.started, counts.dropped, counts.offline) == (2, 2, 0, 0)


async def test_telemetry_comes_at_its_interval_with_jitter(stand: SetUp) -> None:
    every, jitter = 20_000_000, 0.5
    telemetry = TELEMETRY | {"every": "20ms", "jitter": jitter}
    async with stand(telemetry=telemetry) as (rig, _, credential):
        device = await rig.connected(credential)
        ((told, _, _),) = rig.ok(Phase.CONNECT)
        await rig.succeeds(Phase.PUBLISH, 12)
        dues = sorted(due for due, _, _ in rig.ok(Phase.PUBLISH))[:10]
        first = told + round(noise.share(device._seed, noise.FIRST_MESSAGE) * every)
    assert told <= first <= told + every
    skipped = round((dues[0] - first) / every)  # due before CONNACK came
    swings = [due - first - number * every for number, due in enumerate(dues, skipped)]
    assert all(abs(swing) <= every * jitter for swing in swings)
    assert len(set(swings)) > 5, "each message has a swing of its own"


async def test_what_is_due_does_not_wait_for_the_broker(stand: SetUp) -> None:
    async with stand(telemetry=TELEMETRY | {"every": "20ms"}) as (rig, peer, credential):
        peer.mute.add(Connect)
        device = rig.add(credential)
        told = now()
        device.connect(told)
        await rig.changes.until(lambda: rig.context.messages.offline == 2)
        peer.connection.send(ConnAck())
        await rig.succeeds(Phase.PUBLISH)
        ((due, _, _), *_) = rig.ok(Phase.PUBLISH)
        offline = rig.context.messages.offline
        first = told + round(noise.share(device._seed, noise.FIRST_MESSAGE) * 20_000_000)
    assert due == first + offline * 20_000_000


async def test_telemetry_without_jitter_is_on_a_grid(stand: SetUp) -> None:
    async with stand(telemetry=TELEMETRY | {"every": "20ms"}) as (rig, _, credential):
        await rig.connected(credential)
        await rig.succeeds(Phase.PUBLISH, 4)
        dues = [due for due, _, _ in rig.ok(Phase.PUBLISH)][:4]
    assert [later - due for due, later in pairwise(dues)] == [20_000_000] * 3


async def test_a_fleet_without_telemetry_is_silent(stand: SetUp) -> None:
    async with stand(telemetry=None) as (rig, peer, credential):
        device = await rig.connected(credential)
        device.disconnect(now())
        await peer.takes(Disconnect)
        assert peer.of(Publish) == []


async def test_a_message_over_the_cap_is_dropped_and_counted(stand: SetUp) -> None:
    async with stand(receive_maximum=2) as (rig, peer, credential):
        peer.mute.add(Publish)
        device = await rig.connected(credential)
        for _ in range(3):
            device.publish(now())
        counts = rig.context.messages
        assert (counts.due, counts.started, counts.dropped, counts.offline) == (3, 2, 1, 0)
        await peer.takes(Publish, 2)
        peer.connection.send(*(PubAck(packet.packet_id or 0) for packet in peer.of(Publish)))
        await rig.succeeds(Phase.PUBLISH, 2)
        peer.mute.clear()
        device.publish(now())
        assert b'"n":3,' in (await peer.takes(Publish, 3)).payload, "a dropped message takes no number"


async def test_a_message_without_a_connection_is_offline(stand: SetUp) -> None:
    async with stand() as (rig, _, credential):
        device = rig.add(credential)
        device.publish(now())
        device.connect(now())
        device.publish(now())
        counts = rig.context.messages
        assert (counts.due, counts.started, counts.offline) == (2, 0, 2)


async def test_telemetry_of_a_lost_device_is_offline_until_it_is_back(stand: SetUp) -> None:
    settings = {"telemetry": TELEMETRY | {"every": "10ms"}, "reconnect": {"first": "60s", "most": "60s"}}
    async with stand(**settings) as (rig, peer, credential):
        device = await rig.connected(credential)
        peer.connection.reset()
        await rig.comes_to(device, DeviceState.BACKING_OFF)
        await rig.changes.until(lambda: rig.context.messages.offline >= 2)
        device.disconnect(now())
        assert device.state is DeviceState.IDLE
        await rig.changes.until(lambda: not device._telemetry_on)
        due = rig.context.messages.due
        device.connect(now())
        await rig.comes_to(device, DeviceState.CONNECTED)
        await rig.succeeds(Phase.PUBLISH)
        assert rig.context.messages.due > due


@pytest.mark.parametrize(("qos", "kind"), [(1, PubAck), (2, PubRec)])
async def test_a_message_that_the_broker_refuses(
    stand: SetUp, qos: int, kind: type[PubAck] | type[PubRec]
) -> None:
    async with stand(mqtt="5.0") as (rig, peer, credential):
        peer.mute.add(Publish)
        device = await rig.connected(credential)
        device.publish(now(), qos)
        published = await peer.takes(Publish)
        peer.connection.send(kind(published.packet_id or 0, 0x97))
        failure = await rig.fails()
        assert (failure.phase, failure.outcome) == (Phase.PUBLISH, "quota_exceeded")
        assert device.state is DeviceState.CONNECTED


async def test_an_acknowledgement_that_never_comes(stand: SetUp) -> None:
    async with stand(ack_timeout="60ms") as (rig, peer, credential):
        peer.mute.add(Publish)
        device = await rig.connected(credential)
        device.publish(now())
        failure = await rig.fails()
        assert (failure.phase, failure.outcome) == (Phase.PUBLISH, Outcome.ACK_TIMEOUT)
        assert failure.finished - failure.started >= 60_000_000
        published = await peer.takes(Publish)
        peer.connection.send(PubAck(published.packet_id or 0))
        peer.mute.clear()
        device.publish(now())
        await rig.succeeds(Phase.PUBLISH)
        assert len(rig.ok(Phase.PUBLISH)) == 1, "an answer that comes too late counts no more"
        assert device.state is DeviceState.CONNECTED


# Subscribing.


@both
async def test_subscribes_to_its_own_topics(stand: SetUp, mqtt: str) -> None:
    wanted = [{"topic": "commands/{device}", "qos": 1}, {"topic": "{fleet}/#", "qos": 2}]
    async with stand(mqtt=mqtt, subscribe=wanted) as (rig, peer, credential):
        device = await rig.connected(credential)
        due, started, finished = await rig.succeeds(Phase.SUBSCRIBE)
        assert rig.ok(Phase.MQTT_CONNECT)[0][2] == due <= started <= finished
        subscribe = await peer.takes(Subscribe)
        assert subscribe.subscriptions == (
            Subscription("commands/core2-00000", 1),
            Subscription("core2/#", 2),
        )
        for qos in (1, 2):
            peer.server_of("core2-00000").publish("commands/core2-00000", b"restart", qos)
        peer.connection.flush()
        await peer.takes(PubComp)
        await peer.takes(PubAck)
        assert peer.server_of("core2-00000").owed == 0
        assert device.state is DeviceState.CONNECTED


async def test_a_subscription_that_is_refused(stand: SetUp) -> None:
    async with stand(subscribe=[{"topic": "commands/{device}"}]) as (rig, peer, credential):
        peer.mute.add(Subscribe)
        await rig.connected(credential)
        subscribe = await peer.takes(Subscribe)
        peer.connection.send(SubAck(subscribe.packet_id, (0x80,)))
        failure = await rig.fails()
        assert (failure.phase, failure.outcome) == (Phase.SUBSCRIBE, Outcome.SUBSCRIPTION_REFUSED)
        assert failure.detail == "the broker answered SUBACK unspecified_error"


async def test_a_subscription_that_is_never_answered(stand: SetUp) -> None:
    settings = {"subscribe": [{"topic": "commands/{device}"}], "ack_timeout": "60ms"}
    async with stand(**settings) as (rig, peer, credential):
        peer.mute.add(Subscribe)
        device = await rig.connected(credential)
        failure = await rig.fails()
        assert (failure.phase, failure.outcome) == (Phase.SUBSCRIBE, Outcome.ACK_TIMEOUT)
        assert failure.finished - failure.started >= 60_000_000
        peer.connection.send(SubAck(peer.of(Subscribe)[0].packet_id, (0,)))
        device.publish(now())
        await rig.succeeds(Phase.PUBLISH)
        assert rig.ok(Phase.SUBSCRIBE) == [], "an answer that comes too late counts no more"


async def test_a_subscription_that_is_lost_with_its_connection(stand: SetUp) -> None:
    settings = {"subscribe": [{"topic": "commands/{device}"}], "reconnect": NEVER}
    async with stand(**settings) as (rig, peer, credential):
        peer.mute.add(Subscribe)
        await rig.connected(credential)
        await peer.takes(Subscribe)
        peer.connection.reset()
        await rig.fails(2)
        assert {(failure.phase, failure.outcome) for failure in rig.failures} == {
            (Phase.SESSION, "reset"),
            (Phase.SUBSCRIBE, Outcome.CONNECTION_LOST),
        }


# The keepalive.


async def test_pings_after_silence(stand: SetUp) -> None:
    async with stand(keepalive="1s", telemetry=None, ack_timeout="100ms") as (rig, peer, credential):
        device = await rig.connected(credential)
        ((_, _, connected),) = rig.ok(Phase.MQTT_CONNECT)
        await peer.takes(PingReq, 2)
        assert now() - connected >= SECOND
        assert device.state is DeviceState.CONNECTED
        assert rig.failures == []


async def test_pings_while_it_waits_to_leave(stand: SetUp) -> None:
    async with stand(keepalive="1s", ack_timeout="2s") as (rig, peer, credential):
        peer.mute.add(Publish)
        device = await rig.connected(credential)
        device.publish(now())
        published = await peer.takes(Publish)
        device.disconnect(now())
        await peer.takes(PingReq)
        assert peer.of(Disconnect) == []
        peer.connection.send(PubAck(published.packet_id or 0))
        await peer.takes(Disconnect)


async def test_a_ping_without_an_answer_ends_the_session(stand: SetUp) -> None:
    settings = {"keepalive": "1s", "telemetry": None, "ack_timeout": "100ms"}
    async with stand(**settings) as (rig, peer, credential):
        peer.mute.add(PingReq)
        device = await rig.connected(credential)
        failure = await rig.fails()
        assert (failure.phase, failure.outcome) == (Phase.SESSION, Outcome.KEEPALIVE_TIMEOUT)
        assert failure.finished - failure.started >= SECOND
        assert device.state is DeviceState.BACKING_OFF
        assert len(peer.of(PingReq)) == 1


async def test_the_servers_keepalive_goes(stand: SetUp) -> None:
    settings = {"mqtt": "5.0", "keepalive": "60s", "telemetry": None, "connack": ConnAck(server_keepalive=1)}
    async with stand(**settings) as (rig, peer, credential):
        await rig.connected(credential)
        ((_, _, connected),) = rig.ok(Phase.MQTT_CONNECT)
        await peer.takes(PingReq)
        assert now() - connected < 1.5 * SECOND, "later the server may take the device for gone"


async def test_no_keepalive_no_pings(stand: SetUp) -> None:
    async with stand(keepalive="0s", telemetry=None, ack_timeout="20ms") as (rig, peer, credential):
        device = await rig.connected(credential)
        tended = rig.pacer._number
        device._sent_at -= 3600 * SECOND
        await rig.changes.until(lambda: rig.context.population and now() - device._connected_at > 60_000_000)
        assert rig.pacer._number >= tended
        assert peer.of(PingReq) == []


# Losing the connection.


@pytest.mark.parametrize(
    ("mqtt", "code", "name"),
    [("5.0", 0x8E, "session_taken_over"), ("5.0", 0x8B, "server_shutting_down")],
)
async def test_the_broker_says_why_it_ends(stand: SetUp, mqtt: str, code: int, name: str) -> None:
    async with stand(mqtt=mqtt, reconnect=NEVER) as (rig, peer, credential):
        device = await rig.connected(credential)
        peer.connection.send(Disconnect(code))
        failure = await rig.fails()
        assert (failure.phase, failure.outcome) == (Phase.SESSION, name)
        assert failure.detail == f"the broker sent DISCONNECT {name}"
        assert device.state is DeviceState.IDLE


@both
async def test_the_broker_breaks_mqtt(stand: SetUp, mqtt: str) -> None:
    async with stand(mqtt=mqtt, reconnect=NEVER) as (rig, peer, credential):
        await rig.connected(credential)
        peer.connection.send(ConnAck())
        failure = await rig.fails()
        assert (failure.phase, failure.outcome) == (Phase.SESSION, Outcome.PROTOCOL_ERROR)
        await rig.changes.until(lambda: not peer.connection.open)
        assert [packet.code for packet in peer.of(Disconnect)] == ([0x82] if mqtt == "5.0" else [])


async def test_what_awaited_its_acknowledgement_is_lost_with_the_session(stand: SetUp) -> None:
    async with stand(reconnect=NEVER) as (rig, peer, credential):
        peer.mute.add(Publish)
        device = await rig.connected(credential)
        device.publish(now())
        await peer.takes(Publish)
        peer.connection.reset()
        await rig.fails(2)
        assert [(failure.phase, failure.outcome) for failure in rig.failures] == [
            (Phase.SESSION, "reset"),
            (Phase.PUBLISH, Outcome.CONNECTION_LOST),
        ]


@both
async def test_a_kept_session_delivers_again(stand: SetUp, mqtt: str) -> None:
    settings = {"mqtt": mqtt, "clean_start": False, "reconnect": {"first": "1ms", "most": "1ms"}}
    if mqtt == "5.0":
        settings["session_expiry"] = "60s"
    async with stand(**settings) as (rig, peer, credential):
        peer.mute.add(Publish)
        device = await rig.connected(credential)
        due = now()
        device.publish(due)
        await peer.takes(Publish)
        peer.mute.clear()
        peer.connection.reset()
        first, again = await peer.takes(Publish), await peer.takes(Publish, 2)
        assert (first.duplicate, again.duplicate) == (False, True)
        assert again == first._replace(duplicate=True)
        sample_due, started, finished = await rig.succeeds(Phase.PUBLISH)
        assert sample_due == due <= started < finished
        assert [failure.phase for failure in rig.failures] == [Phase.SESSION]


async def test_a_session_that_the_broker_forgot(stand: SetUp) -> None:
    settings = {"clean_start": False, "reconnect": {"first": "1ms", "most": "1ms"}}
    async with stand(**settings) as (rig, peer, credential):
        peer.mute.add(Publish)
        device = await rig.connected(credential)
        device.publish(now())
        await peer.takes(Publish)
        peer.server_of("core2-00000")._kept = False
        peer.connection.reset()
        failure = await rig.fails(2)
        assert (failure.phase, failure.outcome) == (Phase.PUBLISH, Outcome.SESSION_LOST)


async def test_backs_off_with_full_jitter_and_doubles(stand: SetUp) -> None:
    """The wait before attempt n is a share of first · 2ⁿ that never passes most; the seed decides which."""
    first, most = 2_000_000, 16_000_000
    settings = {"reconnect": {"first": "2ms", "most": "16ms"}, "connack": ConnAck(code=3)}
    waits: dict[int, list[int]] = {}
    for seed in (7, 7, 8):
        async with stand(seed=seed, **settings) as (rig, _, credential):
            device = rig.add(credential)
            device.connect(now())
            await rig.fails(6)
            found = [wait for wait, action in rig.pacer.waits if action == device._return][:6]
            connects = rig.context.connects
            assert connects.due == connects.retries + 1, "one was asked for"
        bounds = [min(most, first << number) for number in range(1, 7)]
        assert all(0 < wait <= bound for wait, bound in zip(found, bounds, strict=True)), (found, bounds)
        waits.setdefault(seed, found)
        assert all(abs(one - two) < 3_000_000 for one, two in zip(waits[seed], found, strict=True))
    assert any(abs(one - two) > 100_000 for one, two in zip(waits[7], waits[8], strict=True))


async def test_does_not_come_back_where_it_is_told_not_to(stand: SetUp) -> None:
    async with stand(reconnect=NEVER) as (rig, peer, credential):
        device = await rig.connected(credential)
        peer.connection.close()
        failure = await rig.fails()
        assert (failure.phase, failure.outcome) == (Phase.SESSION, Outcome.CLOSED)
        assert device.state is DeviceState.IDLE


async def test_endpoints_are_used_in_turn(stand: SetUp) -> None:
    async with stand(reconnect={"first": "1ms", "most": "1ms"}) as (rig, peer, credential):
        target = rig.context.targets[0]
        nobody = target._replace(address=target.address._replace(sockaddr=("127.0.0.1", 1)))
        rig.context.targets = (nobody, target)
        lucky, other = sorted((0, 1), key=lambda index: endpoint_of(index, 2), reverse=True)
        assert (await rig.connected(credential, lucky)).state is DeviceState.CONNECTED
        assert rig.failures == []
        unlucky = rig.add(credential, other)
        unlucky.connect(now())
        failure = await rig.fails()
        assert (failure.phase, failure.outcome) == (Phase.TCP_CONNECT, Outcome.REFUSED)
        await rig.comes_to(unlucky, DeviceState.CONNECTED)
        assert len(peer.connections) == 2


async def test_a_device_keeps_to_its_endpoint_where_brokers_share_nothing(stand: SetUp) -> None:
    async with stand() as (rig, peer, credential):
        target = rig.context.targets[0]
        nobody = target._replace(address=target.address._replace(sockaddr=("127.0.0.1", 1)))
        rig.context.targets = (nobody, target)
        rig.context.roaming = False
        device = await rig.connected(credential, next(index for index in (0, 1) if endpoint_of(index, 2)))
        device.reconnect(now(), abrupt=True)
        await rig.succeeds(Phase.CONNECT, 2)
        assert rig.failures == []
        assert len(peer.connections) == 2


async def test_devices_start_from_the_source_addresses_of_their_endpoint(stand: SetUp) -> None:
    async with stand() as (rig, peer, credential):
        sources = tuple(SourceAddress(f"127.0.0.{last}") for last in (2, 3, 4))
        rig.context.targets = (rig.context.targets[0]._replace(sources=sources),)
        for index in range(6):
            await rig.connected(credential, index)
        seen = Counter(each.transport.get_extra_info("peername")[0] for each in peer.connections)
        assert seen == {"127.0.0.2": 2, "127.0.0.3": 2, "127.0.0.4": 2}


# Leaving, and coming back.


async def test_disconnects_and_stays_away(stand: SetUp) -> None:
    async with stand() as (rig, peer, credential):
        device = await rig.connected(credential)
        device.disconnect(now())
        await peer.takes(Disconnect)
        await rig.changes.until(lambda: not peer.connection.open)
        assert device.state is DeviceState.IDLE
        assert rig.failures == []
        device.disconnect(now())
        assert device.state is DeviceState.IDLE


async def test_a_farewell_that_the_full_socket_does_not_take_is_counted(stand: SetUp) -> None:
    telemetry = TELEMETRY | {"payload": {"size": 1_000_000}}
    async with stand(telemetry=telemetry) as (rig, peer, credential):
        device = await rig.connected(credential)
        peer.connection.transport.pause_reading()
        assert device._link is not None
        while not device._link.backed_up:
            device.publish(now(), qos=0)
        device.disconnect(now())
        failure = await rig.fails()
        assert (failure.phase, failure.outcome) == (Phase.SESSION, Outcome.UNFINISHED)
        assert failure.detail == "the socket was full, so DISCONNECT was not sent"
        assert device.state is DeviceState.IDLE
        assert peer.of(Disconnect) == []
    assert len(rig.failures) == 1


async def test_leaves_only_when_everything_is_acknowledged(stand: SetUp) -> None:
    async with stand() as (rig, peer, credential):
        peer.mute.add(Publish)
        device = await rig.connected(credential)
        device.publish(now())
        published = await peer.takes(Publish)
        device.reconnect(now(), abrupt=False)
        assert device.state is DeviceState.LEAVING
        assert peer.of(Disconnect) == []
        device.publish(now())
        assert rig.context.messages.offline == 1
        peer.connection.send(PubAck(published.packet_id or 0))
        await peer.takes(Disconnect)
        await peer.takes(Connect, 2)
        await rig.comes_to(device, DeviceState.CONNECTED)
        assert len(rig.ok(Phase.PUBLISH)) == 1
        assert rig.failures == []


async def test_waits_for_an_acknowledgement_no_longer_than_it_may(stand: SetUp) -> None:
    async with stand(ack_timeout="60ms") as (rig, peer, credential):
        peer.mute.add(Publish)
        device = await rig.connected(credential)
        device.publish(now())
        await peer.takes(Publish)
        device.reconnect(now(), abrupt=False)
        assert (await rig.fails()).outcome == Outcome.ACK_TIMEOUT
        await peer.takes(Disconnect)
        await rig.comes_to(device, DeviceState.CONNECTED)
        assert len(rig.failures) == 1


async def test_a_connection_that_breaks_while_the_device_leaves(stand: SetUp) -> None:
    async with stand() as (rig, peer, credential):
        peer.mute.add(Publish)
        device = await rig.connected(credential)
        device.publish(now())
        await peer.takes(Publish)
        device.disconnect(now())
        peer.connection.reset()
        await rig.comes_to(device, DeviceState.IDLE)
        assert [failure.phase for failure in rig.failures] == [Phase.SESSION, Phase.PUBLISH]
        assert peer.of(Disconnect) == []


async def test_an_abrupt_reconnect_says_nothing(stand: SetUp) -> None:
    async with stand() as (rig, peer, credential):
        device = await rig.connected(credential)
        due = now()
        device.reconnect(due, abrupt=True)
        assert device.state is DeviceState.CONNECTING
        await rig.comes_to(device, DeviceState.CONNECTED)
        assert rig.ok(Phase.CONNECT)[1][0] == due
        assert peer.of(Disconnect) == []
        assert rig.failures == []


@both
async def test_what_an_abrupt_reconnect_cuts_off_is_no_failure(stand: SetUp, mqtt: str) -> None:
    async with stand(mqtt=mqtt, subscribe=[{"topic": "commands/{device}"}]) as (rig, peer, credential):
        peer.mute |= {Publish, Subscribe}
        device = await rig.connected(credential)
        device.publish(now())
        await peer.takes(Publish)
        device.reconnect(now(), abrupt=True)
        await rig.comes_to(device, DeviceState.CONNECTED)
        interval = rig.recorder.snapshot(now(), devices={}, cpu=0, rss=0)
        publish = interval.series[SeriesKey("core2", Phase.PUBLISH)]
        assert publish.outcomes == {Outcome.CUT_OFF: 1}
        assert publish.lag.count == 1, "it was begun, and how late counts"
        assert interval.series[SeriesKey("core2", Phase.SUBSCRIBE)].outcomes == {Outcome.CUT_OFF: 1}
        assert rig.failures == []


async def test_a_connection_that_the_broker_breaks_is_a_failure_all_the_same(stand: SetUp) -> None:
    async with stand(reconnect=NEVER) as (rig, peer, credential):
        peer.mute.add(Publish)
        device = await rig.connected(credential)
        device.publish(now())
        await peer.takes(Publish)
        peer.connection.reset()
        await rig.fails(2)
        assert {(failure.phase, failure.outcome) for failure in rig.failures} == {
            (Phase.SESSION, Outcome.RESET),
            (Phase.PUBLISH, Outcome.CONNECTION_LOST),
        }


async def test_a_device_that_left_learns_nothing_of_the_link_it_left(stand: SetUp) -> None:
    async with stand() as (rig, peer, credential):
        device = await rig.connected(credential)
        link_dies(device, peer)
        device.disconnect(now())
        assert device.state is DeviceState.IDLE
        await asyncio.sleep(0)  # now the link tells
        assert device.state is DeviceState.IDLE
        assert rig.failures == []


async def test_the_end_of_the_old_link_is_not_taken_for_the_end_of_the_new_one(stand: SetUp) -> None:
    async with stand() as (rig, peer, credential):
        device = await rig.connected(credential)
        link_dies(device, peer)
        device.reconnect(now(), abrupt=True)
        await rig.comes_to(device, DeviceState.CONNECTED)
        device.publish(now())
        await rig.succeeds(Phase.PUBLISH)
        assert rig.failures == []


def link_dies(device: VirtualDevice, peer: Peer) -> None:
    """Let the link find out that the peer is gone, before it can tell the device."""
    assert device._link is not None
    peer.connection.reset()
    device._link._end(LinkError(Phase.SESSION, Outcome.RESET, "ECONNRESET"))


async def test_nobody_looks_after_a_device_that_is_away(stand: SetUp) -> None:
    async with stand(ack_timeout="20ms") as (rig, peer, credential):
        device = await rig.connected(credential)
        device.disconnect(now())
        await rig.changes.until(lambda: not device._tending)
        peer.mute.add(Publish)
        device.connect(now())
        await rig.comes_to(device, DeviceState.CONNECTED)
        device.publish(now())
        assert (await rig.fails()).outcome == Outcome.ACK_TIMEOUT, "looked after again"


async def test_reconnecting_connects_a_device_that_was_away(stand: SetUp) -> None:
    async with stand() as (rig, _, credential):
        device = rig.add(credential)
        device.reconnect(now(), abrupt=True)
        await rig.comes_to(device, DeviceState.CONNECTED)


async def test_finishing_ends_a_back_off(stand: SetUp) -> None:
    async with stand(connack=ConnAck(code=3)) as (rig, _, credential):
        device = rig.add(credential)
        device.connect(now())
        await rig.comes_to(device, DeviceState.BACKING_OFF)
        rig.context.finishing = True
        device.finish()
        assert device.state is DeviceState.IDLE
        assert rig.context.settled


async def test_an_attempt_under_way_may_succeed_and_leaves_at_once(stand: SetUp) -> None:
    async with stand() as (rig, peer, credential):
        peer.mute.add(Connect)
        device = rig.add(credential)
        device.connect(now())
        await peer.takes(Connect)
        rig.context.finishing = True
        device.finish()
        assert device.state is DeviceState.CONNECTING
        peer.connection.send(ConnAck())
        await peer.takes(Disconnect)
        await rig.comes_to(device, DeviceState.IDLE)
        assert rig.failures == []


async def test_an_attempt_that_fails_while_the_run_ends_is_not_made_again(stand: SetUp) -> None:
    async with stand(connack=ConnAck(code=3)) as (rig, peer, credential):
        peer.mute.add(Connect)
        device = rig.add(credential)
        device.connect(now())
        await peer.takes(Connect)
        rig.context.finishing = True
        device.finish()
        peer.connection.send(ConnAck(code=3))
        await rig.comes_to(device, DeviceState.IDLE)


async def test_a_device_that_backed_off_when_the_run_ended_does_not_return(stand: SetUp) -> None:
    settings = {"reconnect": {"first": "30ms", "most": "30ms"}, "connack": ConnAck(code=3)}
    async with stand(**settings) as (rig, peer, credential):
        device = rig.add(credential)
        device.connect(now())
        await rig.comes_to(device, DeviceState.BACKING_OFF)
        rig.context.finishing = True
        await rig.changes.until(lambda: not rig.pacer._queue)
        assert device.state is DeviceState.BACKING_OFF
        assert len(peer.of(Connect)) == 1


async def test_abandoned_in_tls(stand: SetUp) -> None:
    async with stand(reconnect=NEVER) as (rig, _, credential):
        with Listener() as listener:
            aim_at(listener, rig)
            device = rig.add(credential)
            device.connect(now())
            sock = await asyncio.to_thread(listener.accept)
            assert await asyncio.to_thread(sock.recv, 1)
            device.abandon()
            failure = await rig.fails()
        assert (failure.phase, failure.outcome) == (Phase.TLS_HANDSHAKE, Outcome.UNFINISHED)


async def test_gives_up_on_a_handshake_that_takes_too_long(stand: SetUp) -> None:
    async with stand(reconnect=NEVER, connect_timeout="50ms") as (rig, _, credential):
        with Listener() as listener:
            aim_at(listener, rig)
            rig.add(credential).connect(now())
            failure = await rig.fails()
        assert (failure.phase, failure.outcome) == (Phase.TLS_HANDSHAKE, Outcome.TIMEOUT)
        assert failure.detail == "not done after 50ms"
        ((_, tcp_started, _),) = rig.ok(Phase.TCP_CONNECT)
        assert failure.finished - tcp_started >= 40_000_000, "the loop counts in milliseconds"


async def test_abandoned_before_its_answer(stand: SetUp) -> None:
    async with stand(reconnect=NEVER) as (rig, peer, credential):
        peer.mute.add(Connect)
        device = rig.add(credential)
        device.connect(now())
        await peer.takes(Connect)
        device.abandon()
        failure = await rig.fails()
        assert (failure.phase, failure.outcome) == (Phase.MQTT_CONNECT, Outcome.UNFINISHED)
        assert len(rig.failures) == 1


@pytest.mark.parametrize("clean_start", [True, False])
@pytest.mark.parametrize("backing_off", [True, False])
async def test_what_is_under_way_when_a_device_is_abandoned_counts_as_unfinished(
    stand: SetUp, *, clean_start: bool, backing_off: bool
) -> None:
    async with stand(clean_start=clean_start) as (rig, peer, credential):
        peer.mute.add(Publish)
        device = await rig.connected(credential)
        device.publish(now())
        await peer.takes(Publish)
        if backing_off:
            peer.connection.reset()
            await rig.comes_to(device, DeviceState.BACKING_OFF)
        rig.context.finishing = True
        device.finish()
        device.abandon()
        assert device.state is DeviceState.IDLE
        (publish,) = (failure for failure in rig.failures if failure.phase is Phase.PUBLISH)
        lost = backing_off and clean_start
        assert publish.outcome == (Outcome.CONNECTION_LOST if lost else Outcome.UNFINISHED)
        assert len(rig.failures) == 1 + backing_off


async def test_abandoning_a_device_that_is_away_does_nothing(stand: SetUp) -> None:
    async with stand() as (rig, _, credential):
        device = rig.add(credential)
        device.abandon()
        assert device.state is DeviceState.IDLE
        assert rig.failures == []


async def test_a_device_that_is_told_to_leave_on_its_way_leaves_when_it_arrives(stand: SetUp) -> None:
    async with stand() as (rig, peer, credential):
        device = rig.add(credential)
        device.connect(now())
        device.disconnect(now())
        assert device.state is DeviceState.CONNECTING
        await rig.comes_to(device, DeviceState.IDLE)
        assert (len(peer.of(Connect)), rig.failures) == (1, [])
        device.connect(now())
        await rig.comes_to(device, DeviceState.CONNECTED)


async def test_qos_0_is_dropped_while_the_socket_takes_no_more(stand: SetUp) -> None:
    async with stand() as (rig, _, credential):
        device = await rig.connected(credential)
        assert device._link is not None
        device._link._unsent = bytearray(b"\0")  # as a broker leaves it that does not read
        device.publish(now(), qos=0)
        messages = rig.context.messages
        assert (messages.due, messages.started, messages.dropped) == (1, 0, 1)
        device._link._unsent = None


# The cloud.

COMMANDS = {"topic": "c/{device}", "answer": "a/{fleet}/{device}", "qos": 1}
COMMAND = b'{"command":4}'


class Listening:
    """An ear that keeps what it is told."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, int, int, int, int]] = []
        self.commands: list[tuple[str, int, int, int | None]] = []
        self.given_up: list[tuple[str, int]] = []

    def said(self, device: str, counter: int, qos: int, due: int, started: int) -> None:
        self.messages.append((device, counter, qos, due, started))

    def unanswered(self, device: str, started: int) -> None:
        self.given_up.append((device, started))

    def told(self, device: str, number: int, at: int, answered: int | None) -> None:
        self.commands.append((device, number, at, answered))


@both
@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_obeys_a_command_and_answers_it(stand: SetUp, mqtt: str, qos: int) -> None:
    async with stand(mqtt=mqtt, commands=COMMANDS | {"qos": qos}) as (rig, peer, credential):
        rig.context.ear = ear = Listening()
        await rig.connected(credential)
        subscribe = await peer.takes(Subscribe)
        assert subscribe.subscriptions == (Subscription("c/core2-00000", qos),)
        await rig.succeeds(Phase.SUBSCRIBE)
        before = now()
        peer.connection.send(Publish("c/core2-00000", COMMAND, 0))
        answer = await peer.takes(Publish)
        await rig.succeeds(Phase.PUBLISH)
        assert (answer.topic, answer.qos) == ("a/core2/core2-00000", qos)
        assert answer.payload == b'{"device":"core2-00000","answer":4}'
    ((device, number, at, answered),) = ear.commands
    assert (device, number) == ("core2-00000", 4)
    assert answered is not None
    assert before < at <= answered < now()
    assert rig.ok(Phase.PUBLISH)[0][:2] == (at, answered)
    assert ear.messages == []
    assert rig.failures == []


@pytest.mark.parametrize(
    ("topic", "payload"),
    [("c/core2-00000", b"on"), ("else/core2-00000", COMMAND)],
    ids=["no command", "another topic"],
)
async def test_what_is_no_command_is_taken_in_silence(stand: SetUp, topic: str, payload: bytes) -> None:
    async with stand(commands=COMMANDS) as (rig, peer, credential):
        rig.context.ear = ear = Listening()
        await rig.connected(credential)
        await rig.succeeds(Phase.SUBSCRIBE)
        peer.connection.send(Publish(topic, payload, 0), Publish("c/core2-00000", COMMAND, 0))
        await rig.succeeds(Phase.PUBLISH)
    assert len(peer.of(Publish)) == len(ear.commands) == 1


async def test_a_command_that_cannot_be_answered_is_still_taken(stand: SetUp) -> None:
    async with stand(commands=COMMANDS, receive_maximum=1) as (rig, peer, credential):
        rig.context.ear = ear = Listening()
        device = await rig.connected(credential)
        await rig.succeeds(Phase.SUBSCRIBE)
        peer.mute.add(Publish)
        device.publish(now())
        peer.connection.send(Publish("c/core2-00000", COMMAND, 0))
        await rig.changes.until(lambda: ear.commands)
        device.abandon()
    ((_, number, _, answered),) = ear.commands
    assert (number, answered) == (4, None)
    assert rig.context.messages.dropped == 1


async def test_says_what_it_published_and_nothing_that_it_dropped(stand: SetUp) -> None:
    async with stand(receive_maximum=2) as (rig, peer, credential):
        rig.context.ear = ear = Listening()
        device = await rig.connected(credential)
        peer.mute.add(Publish)
        for number in range(3):
            device.publish(now(), qos=number and 1)
        device.publish(now(), qos=2)
        device.abandon()
    assert [message[:3] for message in ear.messages] == [
        ("core2-00000", 1, 0),
        ("core2-00000", 2, 1),
        ("core2-00000", 3, 1),
    ]
    assert all(due <= started for *_, due, started in ear.messages)
    lost = [("core2-00000", started) for _, _, qos, _, started in ear.messages if qos]
    assert sorted(ear.given_up) == sorted(lost)


async def test_says_what_an_abrupt_reconnect_left_without_acknowledgement(stand: SetUp) -> None:
    async with stand() as (rig, peer, credential):
        rig.context.ear = ear = Listening()
        device = await rig.connected(credential)
        peer.mute.add(Publish)
        device.publish(now())
        device.reconnect(now(), abrupt=True)
        await rig.succeeds(Phase.CONNECT, 2)
    assert ear.given_up == [("core2-00000", ear.messages[0][4])]
    assert rig.failures == []
