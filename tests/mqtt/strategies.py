"""Hypothesis strategies for packet values: what 3.1.1 can carry, and what 5.0 adds."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from hypothesis import strategies as st

from simulator.mqtt.packets import (
    Auth,
    ConnAck,
    Connect,
    Disconnect,
    PingReq,
    PingResp,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    SubAck,
    Subscribe,
    Subscription,
    UnsubAck,
    Unsubscribe,
    Will,
)

if TYPE_CHECKING:
    from collections.abc import Callable

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
topics = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0+#"), min_size=1, max_size=12)
filters = st.one_of(
    topics,
    st.just("#"),
    st.builds("{}/#".format, topics),
    st.builds("+/{}".format, topics),
    st.builds("{}/+/{}".format, topics, topics),
)
payloads = st.one_of(st.binary(max_size=40), st.binary(min_size=100, max_size=300))
identifiers = st.integers(1, 65535)
qualities = st.integers(0, 2)
shorts = st.integers(0, 65535)
flags = st.booleans()

_Value = TypeVar("_Value")


def _made(make: Callable[..., _Value], *fields: st.SearchStrategy[object]) -> st.SearchStrategy[_Value]:
    # Not st.builds, which would invent values for the fields that are left out.
    return st.tuples(*fields).map(lambda values: make(*values))


_reasons = st.none() | texts
_properties = st.lists(st.tuples(texts, texts), max_size=2).map(tuple)


def _connect(will: st.SearchStrategy[Will], client: st.SearchStrategy[Connect]) -> st.SearchStrategy[Connect]:
    return st.builds(
        lambda packet, one, password: packet._replace(
            will=one,
            password=password if packet.username is not None else None,
            clean_start=packet.clean_start or not packet.client_id,
        ),
        client,
        st.none() | will,
        st.none() | payloads,
    )


def _publish(publish: st.SearchStrategy[Publish]) -> st.SearchStrategy[Publish]:
    return st.builds(
        lambda packet, identifier: packet._replace(
            packet_id=identifier if packet.qos else None, duplicate=packet.duplicate and packet.qos > 0
        ),
        publish,
        identifiers,
    )


_connects_311 = _connect(
    _made(Will, topics, payloads, qualities, flags),
    _made(Connect, texts, flags, shorts, st.none(), st.none() | texts),
)
_publishes_311 = _publish(_made(Publish, topics, payloads, qualities, flags, st.none(), flags))

packets_311 = st.one_of(
    _connects_311,
    st.builds(lambda present, code: ConnAck(present and not code, code), flags, st.integers(0, 5)),
    _publishes_311,
    _made(PubAck, identifiers),
    _made(PubRec, identifiers),
    _made(PubRel, identifiers),
    _made(PubComp, identifiers),
    _made(
        Subscribe,
        identifiers,
        st.lists(_made(Subscription, filters, qualities), min_size=1, max_size=3).map(tuple),
    ),
    _made(SubAck, identifiers, st.lists(st.sampled_from((0, 1, 2, 0x80)), min_size=1, max_size=3).map(tuple)),
    _made(Unsubscribe, identifiers, st.lists(filters, min_size=1, max_size=3).map(tuple)),
    _made(UnsubAck, identifiers),
    st.just(PingReq()),
    st.just(PingResp()),
    st.just(Disconnect()),
)
"""Every packet that 3.1.1 knows, in both directions."""

_sizes = st.none() | st.integers(1, 0xFFFFFFFF)
_seconds = st.integers(0, 0xFFFFFFFF)
_wills_5 = _made(Will, topics, payloads, qualities, flags, _seconds, _properties)
_clients_5 = _made(
    Connect,
    texts,
    flags,
    shorts,
    st.none(),
    st.none() | texts,
    st.none(),
    _seconds,
    st.integers(1, 65535),
    _sizes,
    shorts,
    _properties,
)
_connacks_5 = _made(
    ConnAck,
    flags,
    st.sampled_from((0, 0x80, 0x84, 0x87, 0x9D)),
    st.none() | _seconds,
    st.integers(1, 65535),
    qualities,
    flags,
    _sizes,
    _reasons,
    shorts,
    st.none() | shorts,
    _reasons,
    _reasons,
    _properties,
).map(lambda packet: packet._replace(session_present=packet.session_present and not packet.code))
_subscriptions_5 = _made(Subscription, filters, qualities, flags, flags, st.integers(0, 2))
_refusals = st.sampled_from((0, 0x10, 0x80, 0x87, 0x91))
_releases = st.sampled_from((0, 0x92))

packets_5 = st.one_of(
    _connect(_wills_5, _clients_5),
    _connacks_5,
    _publish(
        _made(
            Publish,
            topics,
            payloads,
            qualities,
            flags,
            st.none(),
            flags,
            st.none() | st.integers(1, 65535),
            _properties,
        )
    ),
    _made(PubAck, identifiers, _refusals, _reasons, _properties),
    _made(PubRec, identifiers, _refusals, _reasons, _properties),
    _made(PubRel, identifiers, _releases, _reasons, _properties),
    _made(PubComp, identifiers, _releases, _reasons, _properties),
    _made(Subscribe, identifiers, st.lists(_subscriptions_5, min_size=1, max_size=3).map(tuple), _properties),
    _made(
        SubAck,
        identifiers,
        st.lists(st.sampled_from((0, 1, 2, 0x80, 0x8F, 0xA2)), min_size=1, max_size=3).map(tuple),
        _reasons,
        _properties,
    ),
    _made(Unsubscribe, identifiers, st.lists(filters, min_size=1, max_size=3).map(tuple), _properties),
    _made(
        UnsubAck,
        identifiers,
        st.lists(st.sampled_from((0, 0x11, 0x87)), min_size=1, max_size=3).map(tuple),
        _reasons,
        _properties,
    ),
    st.just(PingReq()),
    st.just(PingResp()),
    _made(
        Disconnect,
        st.sampled_from((0, 4, 0x81, 0x8B, 0x8E, 0x9C)),
        st.none() | _seconds,
        _reasons,
        _reasons,
        _properties,
    ),
    _made(Auth, st.sampled_from((0x18, 0x19)), texts, st.none() | payloads),
)
"""Every packet that 5.0 knows, in both directions."""


def spoilt(draw: st.DataObject, data: bytes) -> bytes:
    """Change a few bytes of ``data``."""
    changed = bytearray(data)
    for _ in range(draw.draw(st.integers(1, 3))):
        changed[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    return bytes(changed)
