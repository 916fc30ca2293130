"""The session state machine: against single packets, and back to back with a server made of the codec."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.mqtt.blocked import NotConnectedError, UnsupportedError
from simulator.mqtt.events import (
    Acknowledged,
    Connected,
    Disconnected,
    Lost,
    Message,
    Pong,
    PublishRefused,
    Refused,
    Subscribed,
    Unsubscribed,
    Violated,
)
from simulator.mqtt.options import SessionOptions
from simulator.mqtt.packets import (
    Auth,
    ConnAck,
    Connect,
    Disconnect,
    Packet,
    PingReq,
    PingResp,
    PubAck,
    Publish,
    SubAck,
    Subscribe,
    Subscription,
    UnsubAck,
    Unsubscribe,
    Will,
)
from simulator.mqtt.session import Session, SessionState
from tests.mqtt.server import V5, V311, Pair, Server, both, give, kept, pair, said, violation

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator.scenario.kinds import MqttVersion


class TestConnect:
    @both
    def test_accepted(self, version: MqttVersion) -> None:
        made = Pair(SessionOptions(version=version, keepalive=10))
        assert made.state() is SessionState.IDLE
        assert made.connect() == [Connected(False, ConnAck())]
        assert made.state() is SessionState.CONNECTED
        assert made.session.keepalive == 10
        assert made.session.window == 65535
        assert made.server.connect == Connect("core2-1", True, 10)

    @both
    def test_credentials_and_will(self, version: MqttVersion) -> None:
        will = Will("status", b"gone", 1, True)
        session = Session(SessionOptions(version=version), "a", will=will, username="u", password=b"p")
        session.connect()
        server = Server(version)
        server.receive(session.data_to_send())
        assert server.connect == Connect("a", True, 60, will, "u", b"p")

    def test_properties_of_5(self) -> None:
        options = SessionOptions(
            version=V5,
            clean_start=False,
            session_expiry=300,
            receive_maximum=9,
            maximum_packet_size=1000,
            user_properties=(("k", "v"),),
        )
        made = Pair(options)
        made.connect()
        assert made.server.connect == Connect(
            "core2-1", False, 60, None, None, None, 300, 9, 1000, 0, (("k", "v"),)
        )

    def test_bounds_of_our_own_are_not_sent_in_3_1_1(self) -> None:
        made = Pair(SessionOptions(version=V311, receive_maximum=9, maximum_packet_size=1000))
        made.connect()
        assert made.server.connect == Connect("core2-1", True, 60)

    def test_the_server_of_5_has_the_last_word(self) -> None:
        connack = ConnAck(receive_maximum=3, assigned_client_id="given", server_keepalive=7)
        made = pair(V5, connack)
        assert made.session.keepalive == 7
        assert made.session.client_id == "given"
        assert made.session.window == 3
        made.cut()
        made.session.connect()
        assert made.session.keepalive == 60, "the next server may think otherwise"

    @pytest.mark.parametrize(
        ("code", "name"),
        [
            (1, "unsupported_protocol_version"),
            (2, "client_identifier_not_valid"),
            (3, "server_unavailable"),
            (4, "bad_user_name_or_password"),
            (5, "not_authorized"),
        ],
    )
    def test_refused_by_3_1_1(self, code: int, name: str) -> None:
        made = Pair(kept(V311), ConnAck(code=code))
        assert made.connect() == [Refused(code, name, None, None)]
        assert made.state() is SessionState.CLOSED
        assert made.cut() == []
        assert made.state() is SessionState.IDLE

    def test_refused_by_5(self) -> None:
        made = Pair(kept(V5), ConnAck(code=0x9D, reason_string="moved", server_reference="other"))
        assert made.connect() == [Refused(0x9D, "server_moved", "moved", "other")]
        assert made.session.data_to_send() == b""

    def test_a_server_that_knows_only_3_1_1_refuses_5(self) -> None:
        made = Pair(kept(V5))
        made.session.connect()
        assert made.session.receive_data(b"\x20\x02\x00\x01") == [
            Refused(0x84, "unsupported_protocol_version", None, None)
        ]

    @both
    def test_a_packet_before_connack_is_a_violation(self, version: MqttVersion) -> None:
        made = Pair(kept(version))
        made.session.connect()
        made.session.data_to_send()
        assert violation(give(made, PingResp())).clause == "MQTT-3.2.0-1"
        assert made.state() is SessionState.CLOSED
        assert made.session.data_to_send() == b"", "no DISCONNECT before CONNACK"

    @both
    def test_a_second_connack_is_a_violation(self, version: MqttVersion) -> None:
        made = pair(version)
        assert violation(give(made, ConnAck())).clause == "MQTT-3.2.0-2"

    @both
    def test_a_session_that_was_to_start_clean_must_not_be_present(self, version: MqttVersion) -> None:
        made = Pair(SessionOptions(version=version))
        made.session.connect()
        assert violation(give(made, ConnAck(True))).clause == "MQTT-3.2.2-2"

    @both
    def test_connecting_twice_on_a_link_is_a_mistake(self, version: MqttVersion) -> None:
        made = pair(version)
        with pytest.raises(RuntimeError, match="connection_lost"):
            made.session.connect()

    def test_a_will_that_cannot_be_sent_leaves_the_session_idle(self) -> None:
        session = Session(SessionOptions(version=V311), "a", will=Will("#", b""))
        with pytest.raises(ValueError, match="wildcard"):
            session.connect()
        assert session.state is SessionState.IDLE


class TestDisconnect:
    @both
    def test_goodbye(self, version: MqttVersion) -> None:
        made = pair(version)
        made.session.disconnect()
        assert said(made) == [Disconnect()]
        assert made.state() is SessionState.CLOSED
        assert give(made, PingResp()) == [], "what comes after goodbye is ignored"

    def test_goodbye_with_will(self) -> None:
        made = pair(V5)
        made.session.disconnect(4)
        assert said(made) == [Disconnect(4)]

    def test_a_reason_needs_5(self) -> None:
        made = pair(V311)
        with pytest.raises(ValueError, match="cannot carry code"):
            made.session.disconnect(4)
        assert made.state() is SessionState.CONNECTED

    def test_the_server_of_5_gives_a_reason(self) -> None:
        made = pair(V5)
        events = give(made, Disconnect(0x8E, None, "other", "why"), PingResp())
        assert events == [Disconnected(0x8E, "session_taken_over", "why", "other")]
        assert made.state() is SessionState.CLOSED
        assert made.session.data_to_send() == b""

    def test_a_server_of_3_1_1_must_not_send_disconnect(self) -> None:
        made = pair(V311)
        assert "DISCONNECT in 3.1.1" in str(violation(give(made, Disconnect())))

    @both
    @pytest.mark.parametrize(
        "verb",
        [
            lambda session: session.publish("a", b""),
            lambda session: session.publish("a", b"", 1),
            lambda session: session.subscribe([Subscription("a")]),
            lambda session: session.unsubscribe(["a"]),
            lambda session: session.ping(),
            lambda session: session.disconnect(),
        ],
    )
    def test_nothing_is_sent_without_a_connection(
        self, version: MqttVersion, verb: Callable[[Session], None]
    ) -> None:
        made = Pair(kept(version))
        for step in (made.session.connect, made.session.connection_lost):
            step()
            made.session.data_to_send()
            with pytest.raises(NotConnectedError):
                verb(made.session)
            assert made.session.data_to_send() == b""
            assert made.session.inflight == 0


class TestRequests:
    @both
    def test_subscribe_and_unsubscribe(self, version: MqttVersion) -> None:
        made = pair(version)
        assert made.session.subscribe([Subscription("a/#", 1), Subscription("b")], "one") == 1
        assert made.session.unsubscribe(["a/#"], "two") == 2
        codes = (0,) if version is V5 else ()
        assert made.pump() == [Subscribed("one", (1, 0)), Unsubscribed("two", codes)]
        assert made.server.packets[1:] == [
            Subscribe(1, (Subscription("a/#", 1), Subscription("b"))),
            Unsubscribe(2, ("a/#",)),
        ]

    @both
    def test_refusals_are_codes(self, version: MqttVersion) -> None:
        made = pair(version)
        made.session.subscribe([Subscription("a"), Subscription("b")], "one")
        assert give(made, SubAck(1, (0x80, 0))) == [Subscribed("one", (0x80, 0))]

    @both
    @pytest.mark.parametrize(
        "answer",
        [SubAck(1, (0,)), SubAck(1, (0, 0, 0)), SubAck(2, (0, 0)), UnsubAck(1, (0, 0)), UnsubAck(7, (0, 0))],
        ids=repr,
    )
    def test_an_answer_that_does_not_fit_is_a_violation(self, version: MqttVersion, answer: Packet) -> None:
        made = pair(version)
        made.session.subscribe([Subscription("a"), Subscription("b")], "one")
        if version is V311 and isinstance(answer, UnsubAck):
            answer = answer._replace(codes=())
        assert violation(give(made, answer)).clause == "MQTT-3.8.4-2"

    @both
    def test_a_bad_filter_is_not_remembered(self, version: MqttVersion) -> None:
        made = pair(version)
        with pytest.raises(ValueError, match="filter"):
            made.session.subscribe([Subscription("a#")], "one")
        assert made.session.data_to_send() == b""
        assert made.cut() == []

    @both
    def test_unanswered_requests_are_lost_with_the_link(self, version: MqttVersion) -> None:
        made = pair(version)
        made.session.subscribe([Subscription("a")], "one")
        made.session.unsubscribe(["a"], "two")
        assert made.cut() == [Lost("one"), Lost("two")]
        assert made.session.connection_lost() == []

    def test_a_request_over_the_servers_packet_size(self) -> None:
        made = pair(V5, ConnAck(maximum_packet_size=20))
        with pytest.raises(UnsupportedError, match="over the 20"):
            made.session.subscribe([Subscription("a" * 20)])
        assert made.session.subscribe([Subscription("a")]) == 1

    @both
    def test_ping(self, version: MqttVersion) -> None:
        made = pair(version)
        made.session.ping()
        assert made.pump() == [Pong()]
        assert made.server.packets[-1] == PingReq()

    @both
    def test_a_pingresp_that_nobody_asked_for_is_ignored(self, version: MqttVersion) -> None:
        assert give(pair(version), PingResp()) == []


class TestViolations:
    @both
    @pytest.mark.parametrize(
        "packet",
        [Connect("a"), Subscribe(1, (Subscription("a"),)), Unsubscribe(1, ("a",)), PingReq()],
        ids=lambda packet: type(packet).__name__,
    )
    def test_a_packet_that_only_clients_send(self, version: MqttVersion, packet: Packet) -> None:
        made = pair(version)
        assert type(packet).__name__ in str(violation(give(made, packet)))
        assert made.state() is SessionState.CLOSED
        assert said(made) == ([Disconnect(0x82)] if version is V5 else [])

    def test_auth_without_being_asked(self) -> None:
        assert "Auth" in str(violation(give(pair(V5), Auth(0x18, "m"))))

    @both
    def test_events_before_the_violation_are_kept(self, version: MqttVersion) -> None:
        made = pair(version)
        made.session.publish("a", b"", 1, token="one")
        events = made.session.receive_data(b"\x40\x02\x00\x01\x00\x00")
        assert events[0] == Acknowledged("one", 0)
        assert "type 0" in str(violation(events))
        assert made.session.receive_data(b"\x00") == []

    @both
    def test_an_oversized_packet(self, version: MqttVersion) -> None:
        made = Pair(SessionOptions(version=version, maximum_packet_size=20))
        made.connect()
        assert len(give(made, Publish("a", bytes(10)))) == 1
        made.session.data_to_send()
        assert violation(give(made, Publish("a", bytes(20)))).clause == "MQTT-3.1.2-24"
        assert said(made) == ([Disconnect(0x95)] if version is V5 else [])

    def test_a_topic_alias_that_was_not_offered(self) -> None:
        made = pair(V5)
        assert violation(give(made, Publish("a", b"", topic_alias=1))).clause == "MQTT-3.1.2-27"
        assert said(made) == [Disconnect(0x94)]


class TestBytes:
    @both
    @given(st.data())
    def test_packets_may_come_in_any_pieces(self, version: MqttVersion, data: st.DataObject) -> None:
        packets = (
            PubAck(1),
            Publish("a", bytes(200), 1, packet_id=5),
            PubAck(2),
            PingResp(),
            PubAck(3),
            PubAck(4),
            Publish("b", b"x"),
        )
        whole, pieces = pair(version), pair(version)
        for made in (whole, pieces):
            for token in range(4):
                made.session.publish("t", b"x", 1, token=token)
            made.session.ping()
            made.session.data_to_send()
        expected = give(whole, *packets)
        rest, events = b"".join(map(whole.server.codec.write, packets)), []
        while rest:
            size = data.draw(st.integers(1, len(rest)))
            events += pieces.session.receive_data(rest[:size])
            rest = rest[size:]
        assert events == expected
        assert len(expected) == 7
        assert pieces.session.data_to_send() == whole.session.data_to_send() == b"\x40\x02\x00\x05"

    @both
    def test_a_packet_may_come_byte_by_byte(self, version: MqttVersion) -> None:
        made = pair(version)
        made.session.publish("t", b"x", 1, token="first")
        *pieces, last = (bytes((byte,)) for byte in made.server.codec.write(PubAck(1)))
        assert [made.session.receive_data(piece) for piece in pieces] == [[]] * len(pieces)
        assert made.session.receive_data(last) == [Acknowledged("first", 0)]

    @both
    @given(st.binary(max_size=40), st.booleans())
    def test_random_bytes_never_raise(self, version: MqttVersion, data: bytes, connected: bool) -> None:
        made = Pair(kept(version))
        made.session.connect()
        if connected:
            made.pump()
        events = made.session.receive_data(data)
        assert not [event for event in events[:-1] if isinstance(event, Violated)]

    @both
    def test_no_bytes_are_no_event(self, version: MqttVersion) -> None:
        assert pair(version).session.receive_data(b"") == []

    @both
    def test_what_was_not_sent_does_not_outlive_the_link(self, version: MqttVersion) -> None:
        made = pair(version)
        made.session.publish("a", b"x")
        made.session.ping()
        give(made, Publish("a", b"x", 1, packet_id=5))
        made.cut()
        made.session.connect()
        assert [type(packet) for packet in said(made)] == [Connect]
        assert give(made, ConnAck(), PingResp()) == [Connected(False, ConnAck())]

    @both
    def test_bytes_of_an_incomplete_packet_do_not_outlive_the_link(self, version: MqttVersion) -> None:
        made = pair(version)
        assert made.session.receive_data(b"\x40\x02\x00") == []
        made.cut()
        assert isinstance(made.connect()[0], Connected)


class TestMemory:
    @both
    def test_an_idle_session_is_small(self, version: MqttVersion) -> None:
        options = SessionOptions(version=version)
        connack = Server(version).codec.write(ConnAck())
        names = [f"core2-{number:05}" for number in range(200)]
        tracemalloc.start()
        sessions = [Session(options, name) for name in names]
        for session in sessions:
            session.connect()
            session.data_to_send()
            session.receive_data(connack)
            session.publish("fleet/core2/telemetry", bytes(256), 1)
            session.data_to_send()
            session.receive_data(b"\x40\x02\x00\x01")
        used, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert used / len(sessions) < 1536


class TestBackToBack:
    @both
    @given(st.data())
    def test_every_message_arrives_through_links_that_break(
        self, version: MqttVersion, data: st.DataObject
    ) -> None:
        made = Pair(kept(version), ConnAck(receive_maximum=4) if version is V5 else None)
        sent: list[tuple[str, int]] = []
        returned: list[tuple[str, int]] = []
        for _ in range(data.draw(st.integers(1, 6))):
            made.session.connect()
            made.pump(data.draw(st.integers(0, 120)))
            for _ in range(data.draw(st.integers(0, 4))):
                qos = data.draw(st.integers(1, 2))
                if made.session.inflight < made.session.window:
                    sent.append((f"there/{len(sent)}", qos))
                    made.session.publish(sent[-1][0], b"x", qos, token=sent[-1][0])
                if made.state() is SessionState.CONNECTED:
                    returned.append((f"back/{len(returned)}", qos))
                    made.server.publish(returned[-1][0], b"x", qos)
            made.pump(data.draw(st.integers(0, 120)))
            made.cut()
        made.connect()

        assert not [event for event in made.events if isinstance(event, (Lost, Violated, PublishRefused))]
        answered = [event.token for event in made.events if isinstance(event, Acknowledged)]
        assert sorted(map(str, answered)) == sorted(topic for topic, _ in sent)
        assert made.session.inflight == made.server.owed == 0
        arrived = [packet.topic for packet in made.server.taken]
        delivered = [event.topic for event in made.events if isinstance(event, Message)]
        for messages, seen in ((sent, arrived), (returned, delivered)):
            assert set(seen) == {topic for topic, _ in messages}
            assert [seen.count(topic) for topic, qos in messages if qos == 2].count(1) == len(
                [topic for topic, qos in messages if qos == 2]
            )
        for wanted in (1, 2):  # MQTT-4.6.0-1: in the order in which they were sent, within a QoS
            first = list(dict.fromkeys(packet.topic for packet in made.server.taken if packet.qos == wanted))
            assert first == [topic for topic, qos in sent if qos == wanted]
