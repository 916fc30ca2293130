"""Every fault that the broker can make, and the failures that it must come to: phase and outcome, by name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from simulator.metrics.outcome import TLS_ALERTS
from simulator.metrics.sample import Phase
from simulator.mqtt import codec5
from simulator.mqtt.packets import ConnAck, Disconnect
from simulator.mqtt.reasons import Reason
from simulator.scenario.kinds import TlsVersion
from tests.support.faulty_plan import Certificates, Door, Fault, Plan, Step, Then

TCP, TLS, MQTT, SESSION = Phase.TCP_CONNECT, Phase.TLS_HANDSHAKE, Phase.MQTT_CONNECT, Phase.SESSION
SUBSCRIBE, PUBLISH = Phase.SUBSCRIBE, Phase.PUBLISH

QUICK = {"connect_timeout": "400ms"}
IMPATIENT = {"ack_timeout": "300ms"}
V5 = {"mqtt": "5.0"}
BOTH = (TlsVersion.V12, TlsVersion.V13)
SUBSCRIBING = {"subscribe": [{"topic": "c/{device}", "qos": 1}]}

HTTP = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"
ALERTS = (40, 49, 70, 71, 80, 112)
"""Alerts that a server sends in answer to a ClientHello."""

REFUSALS_311 = {
    1: "unsupported_protocol_version",
    2: "client_identifier_not_valid",
    3: "server_unavailable",
    4: "bad_user_name_or_password",
    5: "not_authorized",
}
REFUSALS_5 = [
    *map(Reason, (*range(0x80, 0x8B), 0x8C, 0x90, 0x95, 0x97, *range(0x99, 0x9E), 0x9F)),
]
"""MQTT 5.0, 3.2.2.2."""


@dataclass(frozen=True)
class Case:
    """A fault of one endpoint, and what each device that goes there must come to.

    ``plans`` go to the connections in turn, so one plan is for all of them. ``failures`` has the failures of
    each device in the same order.
    """

    name: str
    plans: tuple[Plan, ...] = (Plan(),)
    failures: tuple[tuple[tuple[Phase, str], ...], ...] = ((),)
    door: Door = Door.OPEN
    fleet: dict[str, Any] = field(default_factory=dict)
    served: int = 0
    """Messages of each device that are acknowledged all the same."""
    versions: tuple[TlsVersion, ...] = (TlsVersion.V13,)


def at(step: Step, then: Then, **more: Any) -> tuple[Plan, ...]:
    return (Plan(fault=Fault(step, then, **more)),)


def each(*failures: tuple[Phase, str]) -> tuple[tuple[tuple[Phase, str], ...], ...]:
    """Give all devices the same failures."""
    return (failures,)


def told(step: Step, sayings: list[bytes], **more: Any) -> tuple[Plan, ...]:
    """Give each connection something else to hear through TLS."""
    return tuple(Plan(fault=Fault(step, Then.HALF_CLOSE, say=saying, **more)) for saying in sayings)


def named(phase: Phase, names: list[str]) -> tuple[tuple[tuple[Phase, str], ...], ...]:
    """Give each device a failure of its own."""
    return tuple(((phase, name),) for name in names)


TCP_AND_TLS = [
    Case("nothing listens", door=Door.SHUT, failures=each((TCP, "refused"))),
    Case("full accept queue", door=Door.CROWDED, failures=each((TCP, "timeout")), fleet=QUICK),
    Case("never accepted", door=Door.UNANSWERED, failures=each((TLS, "timeout")), fleet=QUICK),
    Case("reset once accepted", at(Step.ACCEPT, Then.RESET, wait=5), each((TLS, "reset"))),
    Case("closed with ClientHello unread", at(Step.ACCEPT, Then.CLOSE, wait=5), each((TLS, "reset"))),
    Case("closed in mid-handshake", at(Step.HELLO, Then.CLOSE), each((TLS, "closed"))),
    Case("reset in mid-handshake", at(Step.HELLO, Then.RESET), each((TLS, "reset"))),
    Case("half-closed in mid-handshake", at(Step.HELLO, Then.HALF_CLOSE), each((TLS, "closed"))),
    Case(
        "silent in mid-handshake",
        at(Step.HELLO, Then.SILENCE),
        each((TLS, "timeout")),
        fleet=QUICK,
        versions=BOTH,
    ),
    Case("plain HTTP", at(Step.HELLO, Then.HALF_CLOSE, raw=HTTP), each((TLS, "tls_error"))),
    Case("noise for TLS", at(Step.HELLO, Then.HALF_CLOSE, raw=bytes(range(256))), each((TLS, "tls_error"))),
    Case(
        "alerts in answer to ClientHello",
        tuple(
            Plan(fault=Fault(Step.HELLO, Then.HALF_CLOSE, raw=b"\x15\3\3\0\2\2" + bytes([alert])))
            for alert in ALERTS
        ),
        named(TLS, [TLS_ALERTS[alert] for alert in ALERTS]),
        versions=BOTH,
    ),
    Case("closed after 300 bytes sent", (Plan(sends_at_most=300),), each((TLS, "closed")), versions=BOTH),
    Case(
        "reset after 300 bytes sent",
        (Plan(sends_at_most=300, cut=Then.RESET),),
        each((TLS, "reset")),
        versions=BOTH,
    ),
    Case("closed after 100 bytes taken", (Plan(takes_at_most=100, cut=Then.CLOSE),), each((TLS, "reset"))),
    Case("half-closed after 100 bytes taken", (Plan(takes_at_most=100),), each((TLS, "closed"))),
    Case(
        "handshake byte by byte",
        (Plan(trickle={Step.HELLO: 5}),),
        each((TLS, "timeout")),
        fleet=QUICK,
        versions=BOTH,
    ),
    Case(
        "certificates refused",
        (Plan(certificates=Certificates.REFUSE),),
        each((TLS, "unknown_ca")),
        versions=BOTH,
    ),
    Case("certificates ignored", (Plan(certificates=Certificates.IGNORE),), served=2, versions=BOTH),
]

OPENING = [
    Case("closed at CONNECT", at(Step.CONNECT, Then.CLOSE), each((MQTT, "closed"))),
    Case("reset at CONNECT", at(Step.CONNECT, Then.RESET), each((MQTT, "reset"))),
    Case("half-closed at CONNECT", at(Step.CONNECT, Then.HALF_CLOSE), each((MQTT, "closed"))),
    Case("close_notify at CONNECT", at(Step.CONNECT, Then.CLOSE_NOTIFY), each((MQTT, "closed"))),
    Case("no CONNACK", at(Step.CONNECT, Then.SILENCE), each((MQTT, "timeout")), fleet=QUICK),
    Case("CONNACK byte by byte", (Plan(trickle={Step.CONNECT: 2}),), served=2),
    Case(
        "every refusal of 3.1.1",
        told(Step.CONNECT, [bytes((0x20, 2, 0, code)) for code in REFUSALS_311]),
        named(MQTT, list(REFUSALS_311.values())),
    ),
    Case(
        "every refusal of 5.0, redirects with them",
        told(
            Step.CONNECT,
            [codec5.write(ConnAck(code=code, server_reference="other.example")) for code in REFUSALS_5],
        ),
        named(MQTT, [code.name.lower() for code in REFUSALS_5]),
        fleet=V5,
    ),
    Case("HTTP for CONNACK", at(Step.CONNECT, Then.STAY, say=HTTP), each((MQTT, "protocol_error"))),
    Case(
        "malformed CONNACK",
        tuple(
            Plan(fault=Fault(Step.CONNECT, say=bytes.fromhex(said)))
            for said in (
                "20020000 20020000",
                "2003000000",
                "20020200",
                "20020006",
                "210200 00",
                "20ffffffff01",
            )
        ),
        # The first is a good one, and one too many.
        (((SESSION, "protocol_error"),), *named(MQTT, ["protocol_error"] * 5)),
    ),
    Case(
        "a message before CONNACK",
        at(Step.CONNECT, Then.STAY, say=b"\x30\x03\0\1a"),
        each((MQTT, "protocol_error")),
    ),
]

MALFORMED = {
    "reserved type": "0000",
    "length of five bytes": "30ffffffff01",
    "QoS 3": "360500016100 01",
    "duplicate of QoS 0": "3803000161",
    "second CONNACK": "20020000",
    "SUBACK for nothing": "9003000100",
    "topic that is not UTF-8": "30030001ff",
    "topic with a wildcard": "3003000123",
    "identifier 0": "320500016100 00",
    "PINGREQ from a server": "c000",
    "SUBSCRIBE from a server": "8206000100016100",
    "DISCONNECT of 3.1.1": "e000",
    "PUBREL without its flags": "60020001",
    "a field beyond the packet": "30030005 61",
}

ESTABLISHED: dict[str, Any] = {"answers": True, "wait": 40}
"""A moment after CONNACK."""

DISCONNECTS = [
    *map(Reason, (*range(0x80, 0x84), 0x87, 0x89, 0x8B, *range(0x8D, 0x91), *range(0x93, 0xA3))),
]
"""MQTT 5.0, 3.14.2.1."""

SESSIONS = [
    Case("half-closed", at(Step.CONNECT, Then.HALF_CLOSE, **ESTABLISHED), each((SESSION, "closed"))),
    Case("closed", at(Step.CONNECT, Then.CLOSE, **ESTABLISHED), each((SESSION, "closed"))),
    Case("reset", at(Step.CONNECT, Then.RESET, **ESTABLISHED), each((SESSION, "reset"))),
    Case("close_notify", at(Step.CONNECT, Then.CLOSE_NOTIFY, **ESTABLISHED), each((SESSION, "closed"))),
    Case(
        "kicked with every reason of 5.0, redirects with them",
        told(
            Step.CONNECT,
            [codec5.write(Disconnect(code, server_reference="other.example")) for code in DISCONNECTS],
            **ESTABLISHED,
        ),
        named(SESSION, [code.name.lower() for code in DISCONNECTS]),
        fleet=V5,
    ),
    Case(
        "malformed packets",
        tuple(
            Plan(fault=Fault(Step.CONNECT, say=bytes.fromhex(said), **ESTABLISHED))
            for said in MALFORMED.values()
        ),
        each((SESSION, "protocol_error")),
    ),
    Case(
        "noise for MQTT",
        at(Step.CONNECT, Then.STAY, say=bytes(range(256)), **ESTABLISHED),
        each((SESSION, "protocol_error")),
    ),
    Case("PINGRESP unasked", at(Step.CONNECT, Then.STAY, say=b"\xd0\0", **ESTABLISHED), served=2),
    Case("PUBACK for nothing", at(Step.CONNECT, Then.STAY, say=b"\x40\2\x27\x0f", **ESTABLISHED), served=2),
    Case(
        "a legal message of 2 MiB",
        at(Step.CONNECT, Then.STAY, say=b"\x30\x80\x80\x80\x01\0\1a" + bytes(2_097_149), **ESTABLISHED),
        served=2,
    ),
    Case(
        "a packet of 256 MiB that never ends",
        at(Step.CONNECT, Then.SILENCE, say=b"\x30\xff\xff\xff\x7f\0\1a" + bytes(100_000), **ESTABLISHED),
        each((SESSION, "protocol_error")),
    ),
    Case(
        "no acknowledgement",
        at(Step.PUBLISH, Then.SILENCE),
        each(*[(PUBLISH, "ack_timeout")] * 2),
        fleet=IMPATIENT,
    ),
    Case("answers byte by byte", (Plan(trickle={Step.PUBLISH: 2}),), served=2),
    Case(
        "reset with a message under way",
        at(Step.PUBLISH, Then.RESET, nth=2),
        each((SESSION, "reset"), (PUBLISH, "connection_lost")),
        served=1,
    ),
    Case(
        "closed with a message under way",
        at(Step.PUBLISH, Then.CLOSE, nth=2),
        each((SESSION, "closed"), (PUBLISH, "connection_lost")),
        served=1,
    ),
    Case(
        "message refused",
        at(Step.PUBLISH, Then.STAY, say=b"\x40\3\0\1\x87"),
        each((PUBLISH, "not_authorized")),
        fleet=V5,
        served=1,
    ),
    Case(
        "subscription refused",
        at(Step.SUBSCRIBE, Then.STAY, say=b"\x90\3\0\1\x80"),
        each((SUBSCRIBE, "subscription_refused")),
        fleet=SUBSCRIBING,
        served=2,
    ),
    Case(
        "no SUBACK",
        at(Step.SUBSCRIBE, Then.SILENCE),
        each((SUBSCRIBE, "ack_timeout"), *[(PUBLISH, "ack_timeout")] * 2),
        fleet=SUBSCRIBING | IMPATIENT,
    ),
]
