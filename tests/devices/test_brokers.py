"""The virtual device against real brokers, as an independent client hears it."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from simulator.brokers.embedded import EmbeddedBroker
from simulator.brokers.mosquitto import MosquittoBroker
from simulator.clock import now
from simulator.devices.device import DeviceState
from simulator.metrics.outcome import Outcome
from simulator.metrics.sample import Phase
from simulator.scenario.model import Fleet
from tests.brokers.wire import Papers
from tests.support.brokers import running
from tests.support.changes import Changes
from tests.support.observer import Observer, observing
from tests.support.rig import Rig
from tests.support.tools import require

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from contextlib import AbstractAsyncContextManager
    from ssl import SSLContext

    from simulator.brokers.managed import ManagedBroker
    from simulator.identity.authority import Authority
    from simulator.identity.credential import Credential

TOPIC = "fleet/core2-00000/telemetry"
TELEMETRY = {"topic": "fleet/{device}/telemetry", "every": "20ms", "jitter": 0.2}


class Spoken(NamedTuple):
    """A broker, and a version of MQTT that it speaks."""

    broker: ManagedBroker
    mqtt: str


class Scene(NamedTuple):
    """A fleet at a broker, and who hears it."""

    rig: Rig
    observer: Observer


@pytest.fixture(
    scope="module",
    params=[(EmbeddedBroker, "3.1.1"), (MosquittoBroker, "3.1.1"), (MosquittoBroker, "5.0")],
    ids=["embedded-3.1.1", "mosquitto-3.1.1", "mosquitto-5.0"],
)
def spoken(request: pytest.FixtureRequest, fleet_authority: Authority) -> Iterator[Spoken]:
    make, mqtt = request.param
    if make is MosquittoBroker:
        require("mosquitto")
    with running(lambda: make([fleet_authority.root])) as broker:
        yield Spoken(broker, mqtt)


@pytest.fixture
def context(
    spoken: Spoken, fleet_authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> SSLContext:
    folder = tmp_path_factory.mktemp("observer")
    return Papers.issue(fleet_authority, "observer", folder).context(spoken.broker)


@pytest.fixture
def scene(spoken: Spoken, context: SSLContext) -> Callable[..., AbstractAsyncContextManager[Scene]]:
    """Return how to set up a fleet; keywords are its settings as a file has them."""

    @asynccontextmanager
    async def setting_up(*filters: str, hearing: int = 2, **settings: Any) -> AsyncIterator[Scene]:
        fleet = Fleet.model_validate(
            {"devices": 2, "mqtt": spoken.mqtt, "reconnect": {"first": "1ms", "most": "20ms"}} | settings
        )
        changes = Changes()
        broker = spoken.broker
        async with (
            observing(broker, context, *filters, qos=hearing) as observer,
            Rig(fleet, changes, endpoints=broker.endpoints, trust=broker.trust) as rig,
        ):
            yield Scene(rig, observer)

    return setting_up


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_every_message_arrives_once_with_its_device_counter_and_due_time(
    scene: Callable[..., AbstractAsyncContextManager[Scene]], device: Credential, qos: int
) -> None:
    before = time.time_ns()
    async with scene("fleet/#", hearing=qos, telemetry=TELEMETRY | {"qos": qos}) as (rig, observer):
        await rig.connected(device)
        said = await observer.hears_of(8)
        after = time.time_ns()
        await rig.succeeds(Phase.PUBLISH, 8)
    assert {(str(message.topic), message.qos) for message in observer.heard} == {(TOPIC, qos)}
    assert [each["n"] for each in said] == list(range(1, len(said) + 1))
    assert {each["device"] for each in said} == {"core2-00000"}
    dues = [each["due"] for each in said]
    assert before <= dues[0]
    assert dues == sorted(dues)
    assert dues[-1] <= after
    measured = sorted(due + rig.context.wall_offset for due, _, _ in rig.ok(Phase.PUBLISH))
    assert measured[:8] == dues[:8], "what is measured is what was said"
    assert {failure.outcome for failure in rig.failures} <= {Outcome.UNFINISHED}  # under way when it ended


async def test_a_subscription_is_granted(
    scene: Callable[..., AbstractAsyncContextManager[Scene]], device: Credential
) -> None:
    async with scene(subscribe=[{"topic": "commands/{device}", "qos": 1}]) as (rig, _):
        subscribed = await rig.connected(device)
        await rig.succeeds(Phase.SUBSCRIBE)
        assert subscribed.state is DeviceState.CONNECTED
    assert rig.failures == []


def has_connected(rig: Rig, times: int) -> bool:
    return len(rig.ok(Phase.CONNECT)) == times and rig.devices[0].state is DeviceState.CONNECTED


async def test_a_graceful_reconnect_loses_nothing(
    scene: Callable[..., AbstractAsyncContextManager[Scene]], device: Credential
) -> None:
    will = {"topic": "gone/{device}", "payload": "{fleet}"}
    settings = {"telemetry": TELEMETRY | {"every": "1h", "qos": 1}, "will": will}
    async with scene("fleet/#", "gone/#", **settings) as (rig, observer):
        moving = await rig.connected(device)
        for number in range(3):
            for _ in range(5):
                moving.publish(now())
            moving.reconnect(now(), abrupt=False)
            await rig.changes.until(partial(has_connected, rig, times=number + 2))
        moving.publish(now())
        said = await observer.hears_of(16)
        await rig.succeeds(Phase.PUBLISH, 16)
    assert [each["n"] for each in said] == list(range(1, 17))
    assert {str(message.topic) for message in observer.heard} == {TOPIC}, "nobody was taken for gone"
    assert rig.failures == []


async def test_an_abrupt_reconnect_publishes_the_last_will(
    scene: Callable[..., AbstractAsyncContextManager[Scene]], device: Credential
) -> None:
    will = {"topic": "gone/{device}", "payload": "power cut in {fleet}", "qos": 1}
    async with scene("gone/#", will=will) as (rig, observer):
        gone = await rig.connected(device)
        gone.reconnect(now(), abrupt=True)
        (heard,) = await observer.hears(lambda messages: len(messages) >= 1)
        assert (str(heard.topic), heard.payload) == ("gone/core2-00000", b"power cut in core2")
        await rig.changes.until(lambda: len(rig.ok(Phase.CONNECT)) == 2)
    assert rig.failures == []


async def test_a_client_identifier_that_is_taken_over(
    scene: Callable[..., AbstractAsyncContextManager[Scene]], device: Credential
) -> None:
    async with scene(reconnect={"enabled": False}) as (rig, _):
        first = await rig.connected(device)
        second = await rig.connected(device)
        failure = await rig.fails()
        # MQTT 5.0, 3.14.4 asks for a DISCONNECT that says so; mosquitto 2.0 only closes.
        assert failure.outcome in {"session_taken_over", "closed", "reset"}
        assert failure.phase is Phase.SESSION
        assert (first.state, second.state) == (DeviceState.IDLE, DeviceState.CONNECTED)


async def test_a_kept_session_survives_an_abrupt_reconnect(
    scene: Callable[..., AbstractAsyncContextManager[Scene]], device: Credential, spoken: Spoken
) -> None:
    settings: dict[str, Any] = {"telemetry": TELEMETRY | {"every": "1h", "qos": 2}, "clean_start": False}
    if spoken.mqtt == "5.0":
        settings["session_expiry"] = "60s"
    async with scene("fleet/#", **settings) as (rig, observer):
        moving = await rig.connected(device)
        for _ in range(5):
            moving.publish(now())
        moving.reconnect(now(), abrupt=True)
        await rig.succeeds(Phase.PUBLISH, 5)
        said = await observer.hears_of(5)
        moving.publish(now())
        said = await observer.hears_of(6)
    assert sorted(each["n"] for each in said) == [1, 2, 3, 4, 5, 6], "exactly once, though the link was cut"
    assert rig.failures == []
