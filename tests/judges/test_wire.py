"""Two judges of one run that share no line with our codec: aiomqtt at the broker, and tshark on the wire."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from simulator.brokers.embedded import EmbeddedBroker
from simulator.brokers.mosquitto import MosquittoBroker
from simulator.identity.authority import Authority
from simulator.metrics.sample import Phase
from simulator.report.conclusion import Conclusion
from simulator.scenario.kinds import BrokerKind
from tests.brokers.wire import Papers, Wires, connect, packet, publish, text
from tests.judges.story import DEVICES, LEVELS, Spoken, Story, order, tell
from tests.support.brokers import running
from tests.support.capture import Capture
from tests.support.dissector import dissect
from tests.support.tools import require

if TYPE_CHECKING:
    from pathlib import Path

VERSIONS = [Spoken(mqtt, tls) for mqtt in ("3.1.1", "5.0") for tls in ("1.2", "1.3")]
ONLY_311 = [each for each in VERSIONS if each.mqtt == "3.1.1"]


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create("Fleet")


@pytest.fixture(
    scope="module",
    params=[(MosquittoBroker, VERSIONS), (EmbeddedBroker, ONLY_311)],
    ids=["mosquitto", "embedded"],
)
def story(
    request: pytest.FixtureRequest, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Story:
    make, spoken = request.param
    for program in ("tshark", "mosquitto" if make is MosquittoBroker else "dumpcap"):
        require(program)
    with running(lambda: make([authority.root])) as broker:
        return tell(broker, authority, spoken, tmp_path_factory.mktemp("story"))


def test_the_run_itself_knows_of_no_failure(story: Story) -> None:
    assert story.report.failures == ()
    assert story.report.conclusion is Conclusion.MET


def test_nothing_on_the_wire_is_malformed(story: Story) -> None:
    assert story.wire.complaints == []


def test_every_connection_is_on_the_wire_in_its_version(story: Story) -> None:
    connects = story.ok(Phase.CONNECT)
    assert connects == 3 * len(story.devices)  # each came, came back, and came back once more
    assert len(story.wire.sent("CONNECT")) == len(story.wire.received("CONNACK")) == connects
    versions = Counter(each.mqtt for each in story.spoken for _ in range(3 * DEVICES))
    for mqtt, number in (("3.1.1", 4), ("5.0", 5)):
        assert len(story.wire.sent("CONNECT", ver=number)) == versions[mqtt]
    secrets = Counter(line.split()[0] for line in story.key_log)
    assert secrets["CLIENT_RANDOM"] == secrets["CLIENT_TRAFFIC_SECRET_0"] == connects // 2  # TLS 1.2 and 1.3


def test_every_goodbye_is_on_the_wire_and_for_every_other_end_there_is_a_will(story: Story) -> None:
    wills = [str(each.topic) for each in story.heard if each.topic.matches("gone/#")]
    assert set(wills) == {f"gone/{device}" for device in story.devices}
    goodbyes = len(story.wire.sent("DISCONNECT"))
    assert goodbyes >= 2 * len(story.devices)
    assert goodbyes + len(wills) == story.ok(Phase.CONNECT)


def test_every_message_is_on_the_wire_and_acknowledged(story: Story) -> None:
    sent = [len(story.wire.sent("PUBLISH", qos=qos, dupflag=0)) for qos in LEVELS]
    assert all(sent)
    assert sum(sent) == story.ok(Phase.PUBLISH)
    again = len(story.wire.sent("PUBLISH", dupflag=1))
    assert 0 <= len(story.wire.received("PUBACK")) - sent[1] <= again
    for answers in (story.wire.received("PUBREC"), story.wire.sent("PUBREL"), story.wire.received("PUBCOMP")):
        assert 0 <= len(answers) - sent[2] <= again


def test_every_message_is_heard_once_and_as_it_was_sent(story: Story) -> None:
    """Once, but for what an abrupt end left open: that is sent again, and at QoS 1 heard again."""
    heard = story.telemetry
    levels = dict(heard)
    assert len(levels) == story.ok(Phase.PUBLISH)
    assert len(heard) - len(levels) <= len(story.wire.sent("PUBLISH", qos=1, dupflag=1))
    for device in story.devices:
        counters = sorted(number for name, number in levels if name == device)
        assert counters == list(range(1, len(counters) + 1))
    if story.kind is BrokerKind.EMBEDDED:  # a limit of amqtt: the QoS of the subscription, never a lower one
        assert set(levels.values()) == {2}
    else:
        sent = {qos: len(story.wire.sent("PUBLISH", qos=qos, dupflag=0)) for qos in LEVELS}
        assert Counter(levels.values()) == sent


def test_what_was_retained_is_kept_for_who_comes_later(story: Story) -> None:
    topics = {f"{what}/{device}" for device in story.devices for what in ("fleet", "gone")}
    assert {str(each.topic) for each in story.kept if each.retain} == topics


def test_every_command_reaches_its_device_and_is_acknowledged(story: Story) -> None:
    subscribed = story.ok(Phase.SUBSCRIBE)
    assert len(story.wire.sent("SUBSCRIBE")) == len(story.wire.received("SUBACK")) == subscribed
    for retain in (True, False):
        given = {order(qos, device, retain=retain) for device in story.devices for qos in LEVELS}
        assert {each.message for each in story.wire.received("PUBLISH", retain=int(retain))} == given
    for qos, names in ((1, ["PUBACK"]), (2, ["PUBREC", "PUBCOMP"])):
        delivered = len(story.wire.received("PUBLISH", qos=qos))
        again = len(story.wire.received("PUBLISH", qos=qos, dupflag=1))
        for name in names:
            assert delivered - again <= len(story.wire.sent(name)) <= delivered


def test_pings_are_answered(story: Story) -> None:
    assert len(story.wire.sent("PINGREQ")) >= len(story.wire.received("PINGRESP")) > 0


MALFORMED = {
    "a topic that goes on after the end": packet(0x30, (500).to_bytes(2) + b"topic"),
    "half a packet identifier": packet(0x40, b"\0"),
    "QoS 3": packet(0x36, text("topic") + b"\0\1"),
    "flags that are reserved": packet(0x80, b"\0\1" + text("topic") + b"\0"),
    "a type that is reserved": packet(0x00, b""),
}


def test_the_dissector_finds_what_is_malformed(authority: Authority, tmp_path: Path) -> None:
    """The judge is judged: each packet alone in a connection of its own, behind packets that are right."""
    require("tshark")
    require("mosquitto")
    keys = tmp_path / "keys.log"
    with running(lambda: MosquittoBroker([authority.root])) as broker:
        context = Papers.issue(authority, "maker", tmp_path).context(broker)
        context.keylog_filename = str(keys)
        port = broker.endpoints[0].port
        with Capture(port, tmp_path / "capture.pcapng"):
            asyncio.run(spoil(Wires(broker, context)))
    seen = dissect(tmp_path / "capture.pcapng", port, keys)
    assert len(seen.sent("CONNECT")) == len(seen.sent("PUBLISH", qos=1)) == len(MALFORMED)
    assert len(seen.complaints) == len(MALFORMED)


async def spoil(wires: Wires) -> None:
    for malformed in MALFORMED.values():
        wire = await wires.join(connect("maker"))
        await wire.ask(publish("topic", "right", qos=1))
        wire.send(malformed)
        assert await wire.gone()
    wires.cut()
