"""The sending half: identifiers, quotas, answers, redelivery, and the short way for plain PUBACKs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.mqtt.blocked import (
    CannotSendError,
    IdentifiersExhaustedError,
    QuotaExceededError,
    UnsupportedError,
)
from simulator.mqtt.events import (
    Acknowledged,
    Connected,
    Event,
    Lost,
    Message,
    PublishRefused,
    Subscribed,
    Violated,
)
from simulator.mqtt.options import SessionOptions
from simulator.mqtt.packets import (
    ConnAck,
    Packet,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    SubAck,
    Subscription,
)
from simulator.mqtt.sending import IDENTIFIERS
from simulator.mqtt.session import Session
from tests.mqtt.server import V5, V311, Pair, both, give, kept, pair, said, violation

if TYPE_CHECKING:
    from simulator.scenario.kinds import MqttVersion


def published(made: Pair, *qualities: int) -> None:
    """Publish one message for each QoS to topics 1, 2, … with tokens 1, 2, …, and send them."""
    for number, qos in enumerate(qualities, 1):
        made.session.publish(str(number), b"x", qos, token=number)
    made.session.data_to_send()


def taken(made: Pair, data: bytes) -> list[Event]:
    """Give bytes to a session as a device does: by the short way, else by the other."""
    token = made.session.take_puback(data)
    return [Acknowledged(token, 0)] if token is not None else made.session.receive_data(data)


class TestPublish:
    @both
    @pytest.mark.parametrize("qos", [0, 1, 2])
    def test_a_publication_is_the_same_packet(self, version: MqttVersion, qos: int) -> None:
        one, other = pair(version), pair(version)
        for number in range(3):
            other.session.publish("a", b"x", qos, token=number)
            assert one.session.publication("a", b"x", qos, token=number) == other.session.data_to_send()
        assert one.session.data_to_send() == b""
        assert one.session.awaited == other.session.awaited

    @both
    @pytest.mark.parametrize(
        "size", [0, 100, 121, 122, 123, 124, 125, 200, 16376, 16377, 16378, 16379, 16380]
    )
    @pytest.mark.parametrize("qos", [0, 1, 2])
    def test_the_bytes_are_the_codecs(self, version: MqttVersion, size: int, qos: int) -> None:
        made = pair(version)
        identifier = made.session.publish("a/é", bytes(size), qos, retain=True)
        assert identifier == (1 if qos else None)
        expected = made.server.codec.write(Publish("a/é", bytes(size), qos, True, identifier))
        assert made.session.data_to_send() == expected
        assert made.session.data_to_send() == b""

    @both
    def test_topics_may_alternate(self, version: MqttVersion) -> None:
        made = pair(version)
        for topic in ("a", "b", "b", "a"):
            made.session.publish(topic, b"x")
        assert [packet.topic for packet in said(made) if isinstance(packet, Publish)] == ["a", "b", "b", "a"]

    @both
    @pytest.mark.parametrize("topic", ["", "a/+", "#", "a\0", "a" * 65536, "\ud800"])
    def test_a_bad_topic_is_refused_and_forgotten(self, version: MqttVersion, topic: str) -> None:
        made = pair(version)
        with pytest.raises(ValueError, match=r"topic|U\+0000|65536|surrogates"):
            made.session.publish(topic, b"x", 1)
        assert made.session.inflight == 0
        assert made.session.data_to_send() == b""
        assert made.session.publish("a", b"x", 1) == 1

    @both
    @pytest.mark.parametrize("qos", [-1, 3])
    def test_there_is_no_other_qos(self, version: MqttVersion, qos: int) -> None:
        made = pair(version)
        with pytest.raises(ValueError, match=f"no QoS {qos}"):
            made.session.publish("a", b"x", qos)
        assert made.session.inflight == 0

    @both
    def test_a_message_beyond_a_packet_is_refused(self, version: MqttVersion) -> None:
        made = pair(version)
        with pytest.raises(ValueError, match="limit of 268435455"):
            made.session.publish("a", bytes(268_435_455), 1)
        assert made.session.inflight == 0

    def test_the_servers_bounds(self) -> None:
        made = pair(V5, ConnAck(maximum_qos=1, retain_available=False, maximum_packet_size=20))
        for message, why in (
            ((b"x", 2, False), "QoS 1 at most"),
            ((b"x", 0, True), "no retained"),
            ((bytes(20), 0, False), "over the 20"),
        ):
            with pytest.raises(UnsupportedError, match=why):
                made.session.publish("a", *message)
        assert made.session.inflight == 0
        assert made.session.publish("a", bytes(12), 1) == 1
        assert len(made.session.data_to_send()) == 20
        made.cut()
        made.session.connect()
        give(made, ConnAck())
        assert made.session.publish("a", bytes(20), 2, retain=True) == 2, "the next server may take more"


class TestQuota:
    @both
    def test_our_own_bound(self, version: MqttVersion) -> None:
        made = Pair(SessionOptions(version=version, inflight_maximum=2))
        made.connect()
        published(made, 1, 2)
        with pytest.raises(QuotaExceededError, match="2 messages await an answer, and 2 may"):
            made.session.publish("a", b"x", 1)
        made.session.publish("a", b"x")
        give(made, PubAck(1))
        assert made.session.inflight == 1
        assert made.session.publish("a", b"x", 1) == 3

    def test_the_servers_receive_maximum(self) -> None:
        made = pair(V5, ConnAck(receive_maximum=1))
        published(made, 2)
        for packet in (PubRec(1), PubComp(1)):  # MQTT 5.0, 4.9: PUBREC without an error does not count
            with pytest.raises(QuotaExceededError):
                made.session.publish("a", b"x", 1)
            give(made, packet)
        assert made.session.publish("a", b"x", 1) == 2

    def test_a_refusal_gives_the_quota_back(self) -> None:
        made = pair(V5, ConnAck(receive_maximum=1))
        published(made, 2)
        give(made, PubRec(1, 0x97))
        assert made.session.publish("a", b"x", 1) == 2


class TestIdentifiers:
    @both
    def test_they_go_round_and_skip_what_is_held(self, version: MqttVersion) -> None:
        made = pair(version)
        assert made.session.publish("held", b"", 1) == 1
        assert made.session.subscribe([Subscription("held")]) == 2
        for expected in range(3, IDENTIFIERS + 1):
            assert made.session.publish("a", b"", 1) == expected
            made.session.data_to_send()
            made.session.receive_data(b"\x40\x02" + expected.to_bytes(2, "big"))
        assert made.session.publish("a", b"", 1) == 3
        assert made.session.subscribe([Subscription("a")]) == 4

    @both
    def test_a_request_may_have_the_last_one(self, version: MqttVersion) -> None:
        made = pair(version)
        made.session._identifier = IDENTIFIERS - 1
        assert made.session.subscribe([Subscription("a")]) == IDENTIFIERS
        give(made, SubAck(IDENTIFIERS, (0,)))
        assert made.session.publish("a", b"", 1) == 1

    @both
    def test_all_in_flight(self, version: MqttVersion) -> None:
        made = pair(version)
        for expected in range(1, IDENTIFIERS + 1):
            assert made.session.publish("a", b"", 1) == expected
        with pytest.raises(IdentifiersExhaustedError, match="all 65535"):
            made.session.publish("a", b"", 1)
        with pytest.raises(IdentifiersExhaustedError, match="all 65535"):
            made.session.subscribe([Subscription("a")])
        made.session.data_to_send()
        give(made, PubAck(40000))
        assert made.session.publish("a", b"", 1) == 40000

    @both
    def test_all_held_with_a_request_among_them(self, version: MqttVersion) -> None:
        made = pair(version)
        made.session.subscribe([Subscription("a")])
        for _ in range(IDENTIFIERS - 1):
            made.session.publish("a", b"", 1)
        with pytest.raises(IdentifiersExhaustedError):
            made.session.publish("a", b"", 1)


class TestAnswers:
    @both
    def test_qos_1(self, version: MqttVersion) -> None:
        made = pair(version)
        published(made, 1)
        assert give(made, PubAck(1)) == [Acknowledged(1, 0)]
        assert made.session.inflight == 0

    @both
    def test_qos_2(self, version: MqttVersion) -> None:
        made = pair(version)
        published(made, 2)
        assert give(made, PubRec(1)) == []
        assert said(made) == [PubRel(1)]
        assert made.session.inflight == 1
        assert give(made, PubComp(1)) == [Acknowledged(1, 0)]
        assert made.session.inflight == 0

    @both
    def test_pubrec_again_is_answered_again(self, version: MqttVersion) -> None:
        made = pair(version)
        published(made, 2)
        give(made, PubRec(1), PubRec(1))
        assert said(made) == [PubRel(1), PubRel(1)]
        assert give(made, PubComp(1), PubComp(1)) == [Acknowledged(1, 0)]

    @both
    def test_answers_to_nothing_are_tolerated(self, version: MqttVersion) -> None:
        made = pair(version)
        assert give(made, PubAck(7), PubComp(8)) == []
        assert said(made) == []

    def test_pubrec_for_nothing_is_released(self) -> None:
        made = pair(V311)
        assert give(made, PubRec(9)) == []
        assert said(made) == [PubRel(9)]
        made = pair(V5)
        assert give(made, PubRec(9)) == []
        assert said(made) == [PubRel(9, 0x92)]

    @both
    @pytest.mark.parametrize(
        ("qos", "answers"), [(1, [PubRec(1)]), (1, [PubComp(1)]), (2, [PubAck(1)]), (2, [PubComp(1)])]
    )
    def test_answers_of_the_wrong_kind(self, version: MqttVersion, qos: int, answers: list[Packet]) -> None:
        made = pair(version)
        published(made, qos)
        assert violation(give(made, *answers)).clause == "MQTT-3.3.4-1"

    @both
    def test_puback_after_pubrec_is_of_the_wrong_kind(self, version: MqttVersion) -> None:
        made = pair(version)
        published(made, 2)
        assert violation(give(made, PubRec(1), PubAck(1))).clause == "MQTT-3.3.4-1"

    def test_reasons_of_5(self) -> None:
        made = pair(V5)
        published(made, 1, 1, 2, 2, 2)
        assert give(made, PubAck(1, 0x10)) == [Acknowledged(1, 0x10)]
        assert give(made, PubAck(2, 0x97, "full")) == [PublishRefused(2, 0x97, "quota_exceeded", "full")]
        assert give(made, PubRec(3, 0x87)) == [PublishRefused(3, 0x87, "not_authorized", None)]
        assert said(made) == []
        assert give(made, PubRec(4, 0x10), PubComp(4)) == [Acknowledged(4, 0)]
        assert give(made, PubRec(5), PubComp(5, 0x92)) == [Acknowledged(5, 0)], "the server was done before"
        assert made.session.inflight == 0


class TestShortWay:
    """Plain PUBACKs are taken in a loop of their own: it must mean the same as the way of all others."""

    @both
    @given(st.data())
    def test_it_means_the_same(self, version: MqttVersion, data: st.DataObject) -> None:
        codes = (0, 0x10, 0x87) if version is V5 else (0,)
        acknowledgements = st.builds(
            lambda kind, identifier, code: PubAck(identifier, code) if kind else PubRec(identifier),
            st.integers(0, 6),
            st.integers(1, 6),
            st.sampled_from(codes),
        )
        packets = data.draw(st.lists(acknowledgements, max_size=5))
        quick, lone, slow = pair(version), pair(version), pair(version)
        for made in (quick, lone, slow):
            published(made, 1, 1, 1, 1, 2)
        at_once = give(quick, *packets)
        each_alone = [event for packet in packets for event in taken(lone, lone.server.codec.write(packet))]
        one_by_one: list[Event] = []
        for packet in packets:
            encoded = slow.server.codec.write(packet)
            # An incomplete packet is under way, so the loop keeps out.
            one_by_one += slow.session.receive_data(encoded[:1])
            one_by_one += slow.session.receive_data(encoded[1:])
        for made, events in ((quick, at_once), (lone, each_alone)):
            assert [_comparable(event) for event in events] == [_comparable(event) for event in one_by_one]
            assert made.session.inflight == slow.session.inflight
            assert made.session.state is slow.session.state
        assert said(quick) == said(lone) == said(slow)

    @both
    def test_a_lone_puback(self, version: MqttVersion) -> None:
        made = pair(version)
        published(made, 1, 1, 2)
        assert made.session.take_puback(b"\x40\x02\x00\x02") == 2
        assert made.session.inflight == 2

    @both
    @pytest.mark.parametrize(
        "data",
        [
            b"\x40\x02\x00\x04",  # answers nothing
            b"\x40\x02\x00\x02",  # the wrong kind of answer
            b"\x50\x02\x00\x01",  # PUBREC
            b"\x00\x40\x02\x00\x01",  # the same number
            b"\x40\x02\x00",
            b"\x40\x02\x00\x01\xd0",
            b"",
        ],
    )
    def test_anything_else_is_not_taken(self, version: MqttVersion, data: bytes) -> None:
        made = pair(version)
        published(made, 1, 2)
        assert made.session.take_puback(data) is None
        assert made.session.inflight == 2

    @both
    def test_a_puback_whose_publish_has_no_token_is_not_taken(self, version: MqttVersion) -> None:
        made = pair(version)
        made.session.publish("a", b"x", 1)
        assert taken(made, b"\x40\x02\x00\x01") == [Acknowledged(None, 0)]
        assert made.session.inflight == 0

    def test_a_lone_puback_lets_the_backlog_go_on(self) -> None:
        made = pair(V5)
        published(made, 1, 1)
        made.cut()
        made.session.connect()
        give(made, ConnAck(True, receive_maximum=1))
        made.session.data_to_send()
        assert taken(made, b"\x40\x02\x00\x01") == [Acknowledged(1, 0)]
        assert said(made) == [Publish("2", b"x", 1, False, 2, True)]

    def test_a_reason_in_3_1_1_is_no_plain_puback(self) -> None:
        made = pair(V311)
        published(made, 1)
        events = made.session.receive_data(b"\x40\x03\x00\x01\x10")
        assert "1 bytes follow" in str(violation(events))

    @both
    def test_bytes_within_another_packet_are_no_puback(self, version: MqttVersion) -> None:
        made = pair(version)
        published(made, 1)
        puback = b"\x40\x02\x00\x01"
        data = made.server.codec.write(Publish("a", puback))
        assert made.session.receive_data(data[:-4]) == []
        assert made.session.receive_data(puback) == [Message("a", puback, 0, False, False, ())]
        assert made.session.inflight == 1

    @both
    def test_a_puback_before_connack_is_a_violation(self, version: MqttVersion) -> None:
        made = pair(version)
        published(made, 1)
        made.cut()
        made.session.connect()
        assert violation(give(made, PubAck(1))).clause == "MQTT-3.2.0-1"
        assert made.session.inflight == 1

    @both
    @pytest.mark.parametrize("piece", [b"\x40", b"\x40\x02", b"\x40\x02\x00", b"\x40\x03\x00\x01"])
    def test_an_incomplete_puback_waits(self, version: MqttVersion, piece: bytes) -> None:
        made = pair(version)
        published(made, 1)
        assert made.session.receive_data(piece) == []
        assert made.session.inflight == 1


def _comparable(event: Event) -> object:
    return str(event.error) if isinstance(event, Violated) else event


class TestDisown:
    @both
    def test_what_is_awaited_is_in_the_order_of_sending(self, version: MqttVersion) -> None:
        made = pair(version)
        published(made, 1, 2, 1)
        made.session.publish("a", b"x", 1)
        assert made.session.awaited == [1, 2, 3]

    @both
    def test_an_answer_to_a_disowned_publish_has_no_token(self, version: MqttVersion) -> None:
        made = pair(version)
        published(made, 1, 2)
        assert made.session.disown(lambda token: token == 1) == [1]
        assert made.session.awaited == [2]
        assert made.session.inflight == 2, "the identifier is not free"
        assert taken(made, b"\x40\x02\x00\x01") == [Acknowledged(None, 0)]
        assert made.session.disown(lambda token: token <= 2) == [2]
        assert give(made, PubRec(2), PubComp(2)) == [Acknowledged(None, 0)]

    @both
    def test_a_disowned_publish_is_sent_again_and_lost_like_others(self, version: MqttVersion) -> None:
        made = pair(version)
        published(made, 1)
        assert made.session.disown(lambda token: token == 1) == [1]
        made.cut()
        made.session.connect()
        said(made)
        give(made, ConnAck(session_present=True))
        assert said(made) == [Publish("1", b"x", 1, False, 1, True)]

    @both
    def test_a_disowned_request(self, version: MqttVersion) -> None:
        made = pair(version)
        made.session.subscribe([Subscription("a")], "subscribe")
        assert made.session.disown(lambda _: True) == ["subscribe"]
        assert give(made, SubAck(1, (0,))) == [Subscribed(None, (0,))]

    @both
    def test_disowning_what_nobody_waits_for_changes_nothing(self, version: MqttVersion) -> None:
        made = pair(version)
        published(made, 1)
        assert made.session.disown(lambda token: token == "another") == []
        assert made.session.awaited == [1]


class TestRedelivery:
    @both
    def test_in_the_original_order_with_the_duplicate_flag(self, version: MqttVersion) -> None:
        made = pair(version)
        published(made, 1, 2, 1, 2, 0)
        give(made, PubRec(4), PubRec(2), PubRec(4))
        assert made.cut() == []
        made.session.connect()
        made.session.data_to_send()
        assert give(made, ConnAck(True)) == [Connected(True, ConnAck(True))]
        assert said(made) == [
            Publish("1", b"x", 1, False, 1, True),
            Publish("3", b"x", 1, False, 3, True),
            PubRel(4),
            PubRel(2),
        ]

    @both
    def test_a_message_is_repeated_on_every_link(self, version: MqttVersion) -> None:
        made = pair(version)
        published(made, 1)
        for _ in range(3):
            made.cut()
            made.session.connect()
            made.session.data_to_send()
            give(made, ConnAck(True))
            assert said(made) == [Publish("1", b"x", 1, False, 1, True)]
        assert give(made, PubAck(1)) == [Acknowledged(1, 0)]

    def test_never_more_than_the_new_window(self) -> None:
        made = pair(V5)
        published(made, 1, 2, 1, 2)
        made.cut()
        made.session.connect()
        made.session.data_to_send()
        give(made, ConnAck(True, receive_maximum=2))
        assert [packet.packet_id for packet in said(made) if isinstance(packet, Publish)] == [1, 2]
        with pytest.raises(QuotaExceededError):
            made.session.publish("a", b"x", 1)
        give(made, PubAck(3))  # an answer to what has not been sent again: the server's own doing
        give(made, PubAck(1))
        assert [packet.packet_id for packet in said(made) if isinstance(packet, Publish)] == [4]
        give(made, PubRec(2), PubRec(4), PubComp(2), PubComp(4))
        assert made.session.inflight == 0
        assert made.session.publish("a", b"x", 1) == 5

    def test_what_the_server_no_longer_takes_is_lost(self) -> None:
        made = pair(V5)
        published(made, 1, 2)
        made.cut()
        made.session.connect()
        made.session.data_to_send()
        connack = ConnAck(True, maximum_qos=1)
        assert give(made, connack) == [Connected(True, connack), Lost(2)]
        assert said(made) == [Publish("1", b"x", 1, False, 1, True)]

    def test_a_release_goes_on_whatever_the_server_takes(self) -> None:
        made = pair(V5)
        published(made, 2)
        give(made, PubRec(1))
        made.cut()
        made.session.connect()
        made.session.data_to_send()
        give(made, ConnAck(True, maximum_qos=0, retain_available=False))
        assert said(made) == [PubRel(1)]


class TestLost:
    @both
    def test_a_session_that_the_server_did_not_keep(self, version: MqttVersion) -> None:
        made = pair(version)
        published(made, 1, 2)
        give(made, PubRec(2))
        assert made.cut() == []
        made.session.connect()
        made.session.data_to_send()
        assert give(made, ConnAck()) == [Connected(False, ConnAck()), Lost(1), Lost(2)]
        assert said(made) == []
        assert made.session.inflight == 0

    @both
    def test_a_session_that_ends_with_its_link(self, version: MqttVersion) -> None:
        made = Pair(SessionOptions(version=version))
        made.connect()
        published(made, 1)
        made.session.disconnect()
        assert made.cut() == [Lost(1)]
        assert made.cut() == []

    def test_the_server_of_5_may_shorten_the_session(self) -> None:
        made = pair(V5, ConnAck(session_expiry=0))
        published(made, 1)
        assert made.cut() == [Lost(1)]

    def test_a_clean_start_of_5_ends_what_was_kept(self) -> None:
        made = Pair(SessionOptions(version=V5, clean_start=True, session_expiry=300))
        made.connect()
        published(made, 1)
        assert made.cut() == []
        assert made.connect() == [Connected(False, ConnAck()), Lost(1)]

    @both
    def test_a_refused_reconnect_loses_nothing(self, version: MqttVersion) -> None:
        made = pair(version)
        published(made, 1)
        made.cut()
        made.session.connect()
        give(made, ConnAck(code=3 if version is V311 else 0x88))
        assert made.cut() == []
        assert made.session.inflight == 1


def test_every_refusal_to_send_is_caught_as_one() -> None:
    for error in (QuotaExceededError, IdentifiersExhaustedError, UnsupportedError):
        assert issubclass(error, CannotSendError)


def test_many_small_packets_leave_in_one_piece() -> None:
    session = Session(kept(V311), "a")
    session.connect()
    session.receive_data(b"\x20\x02\0\0")
    session.publish("a", b"x")
    session.ping()
    assert session.data_to_send().endswith(b"\x30\x04\x00\x01ax\xc0\x00")
