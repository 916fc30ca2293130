"""The receiving half: what the server publishes is answered, and QoS 2 is delivered once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.mqtt.events import Connected, Message
from simulator.mqtt.options import SessionOptions
from simulator.mqtt.packets import ConnAck, Disconnect, PubAck, PubComp, Publish, PubRec, PubRel
from tests.mqtt.server import V5, V311, Pair, both, give, pair, said, violation

if TYPE_CHECKING:
    from simulator.scenario.kinds import MqttVersion


@both
def test_qos_0(version: MqttVersion) -> None:
    made = pair(version)
    assert give(made, Publish("a", b"x", 0, True)) == [Message("a", b"x", 0, True, False, ())]
    assert said(made) == []


@both
def test_qos_1_is_delivered_as_often_as_it_comes(version: MqttVersion) -> None:
    made = pair(version)
    packet = Publish("a", b"x", 1, packet_id=5)
    assert give(made, packet, packet._replace(duplicate=True)) == [
        Message("a", b"x", 1, False, False, ()),
        Message("a", b"x", 1, False, True, ()),
    ]
    assert said(made) == [PubAck(5), PubAck(5)]


@both
def test_qos_2_is_delivered_once(version: MqttVersion) -> None:
    made = pair(version)
    packet = Publish("a", b"x", 2, packet_id=5)
    assert give(made, packet, packet._replace(duplicate=True)) == [Message("a", b"x", 2, False, False, ())]
    assert said(made) == [PubRec(5), PubRec(5)]
    assert give(made, PubRel(5)) == []
    assert said(made) == [PubComp(5)]
    assert len(give(made, packet)) == 1, "the identifier is free for another message"


@both
def test_qos_2_is_delivered_once_across_links(version: MqttVersion) -> None:
    made = pair(version)
    packet = Publish("a", b"x", 2, packet_id=5)
    give(made, packet)
    made.cut()
    made.session.connect()
    made.session.data_to_send()
    assert give(made, ConnAck(True), packet) == [Connected(True, ConnAck(True))]
    assert said(made) == [PubRec(5)]


@both
def test_a_new_session_remembers_no_identifier(version: MqttVersion) -> None:
    made = pair(version)
    packet = Publish("a", b"x", 2, packet_id=5)
    give(made, packet)
    made.cut()
    made.session.connect()
    assert len(give(made, ConnAck(), packet)) == 2


def test_a_release_of_nothing_is_answered() -> None:
    for version, answer in ((V311, PubComp(5)), (V5, PubComp(5, 0x92))):
        made = pair(version)
        assert give(made, PubRel(5)) == []
        assert said(made) == [answer]
        give(made, Publish("a", b"x", 2, packet_id=6), PubRel(5))
        assert said(made) == [PubRec(6), answer]


@both
def test_identifiers_of_both_directions_are_apart(version: MqttVersion) -> None:
    made = pair(version)
    made.session.publish("a", b"x", 2)
    made.session.data_to_send()
    give(made, Publish("b", b"y", 2, packet_id=1), PubRec(1), PubRel(1))
    assert said(made) == [PubRec(1), PubRel(1), PubComp(1)]


def test_user_properties_of_5_are_delivered() -> None:
    made = pair(V5)
    packet = Publish("a", b"x", user_properties=(("k", "v"),))
    assert give(made, packet) == [Message("a", b"x", 0, False, False, (("k", "v"),))]


def test_more_than_the_receive_maximum_is_a_violation() -> None:
    made = Pair(SessionOptions(version=V5, receive_maximum=1))
    made.connect()
    first = Publish("a", b"x", 2, packet_id=1)
    assert len(give(made, first, first)) == 1
    assert violation(give(made, first._replace(packet_id=2))).clause == "MQTT-3.3.4-9"
    assert said(made) == [PubRec(1), PubRec(1), Disconnect(0x93)]
