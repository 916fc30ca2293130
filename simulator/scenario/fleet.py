"""A fleet, a named group of devices that behave alike: the ``[fleet.NAME]`` tables. Values only."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from simulator.clock import SECOND
from simulator.scenario.fields import (
    ClientId,
    Count,
    DeviceTopic,
    Flag,
    Interval,
    KeepAlive,
    Mqtt,
    Period,
    Qos,
    SessionExpiry,
    Share,
    Size,
    Text,
    TextTemplate,
    Tls,
    TopicFilter,
    TopicTemplate,
)
from simulator.scenario.kinds import CertificateKind, KeyKind, MqttVersion, TlsVersion
from simulator.scenario.table import Mistake, Table
from simulator.scenario.template import check_placeholders
from simulator.scenario.wording import did_you_mean, quote

__all__ = [
    "Commands",
    "FixedPayload",
    "Fleet",
    "Payload",
    "Reconnect",
    "Subscription",
    "Telemetry",
    "TemplatePayload",
    "Will",
]

_DAY = 86_400 * SECOND
_ONLY_MQTT_5 = ("session_expiry", "user_properties")


def _payload_template(value: str) -> str:
    stamps = ("device", "counter", "due")
    check_placeholders(value, (*stamps, "fleet"), needed=stamps)
    return value


def _large_enough(value: int) -> int:
    if value < 64:
        raise ValueError(
            f"expected 64B or more, room for the device, a counter and the due time, not {value}B"
        )
    return value


class FixedPayload(Table):
    """Messages of one size, whatever they carry."""

    size: Annotated[Size, AfterValidator(_large_enough)]
    """Bytes of each message: the device, a counter and the due time, then filling."""


class TemplatePayload(Table):
    """Messages made from a text."""

    template: Annotated[str, AfterValidator(_payload_template)]
    """Text with ``{device}``, ``{counter}`` and ``{due}`` in it, and ``{fleet}`` where wanted."""


def _payload(value: object) -> "str | FixedPayload | TemplatePayload":
    if value == "core2":
        return "core2"
    if isinstance(value, FixedPayload | TemplatePayload):
        return value
    if isinstance(value, dict) and "size" in value:
        return FixedPayload.model_validate(value)
    if isinstance(value, dict) and "template" in value:
        return TemplatePayload.model_validate(value)
    meant = did_you_mean(value, ["core2"]) if isinstance(value, str) else ""
    raise ValueError(
        f'expected "core2", {{ size = "256B" }} or {{ template = "…" }}, not {quote(value)}{meant}'
    )


Payload = Annotated[Literal["core2"] | FixedPayload | TemplatePayload, BeforeValidator(_payload)]


class Telemetry(Table):
    """What each device publishes by itself, from when a stage lets it connect until one lets it leave.

    Due times depend on the seed alone, not on the broker: what is due while a device has no connection is
    counted as offline.
    """

    topic: TopicTemplate = Field(examples=["fleet/{device}/telemetry"])
    """Topic of the messages; ``{device}`` and ``{fleet}`` are filled in."""

    every: Period = Field(examples=["1s"])
    """Time from one due message of a device to its next, 1ms or more."""

    jitter: Share = 0.0
    """How far a message may be due earlier or later, evenly spread, as a share of ``every``."""

    qos: Qos = 0
    """Quality of service: 0, 1 or 2."""

    retain: Flag = False
    """Whether the broker keeps the last message for later subscribers."""

    payload: Payload = "core2"
    """``"core2"`` (readings of a Core2's sensors), ``{ size = "256B" }`` or ``{ template = "…" }``.

    Every message carries its device, a counter and the time it was due.
    """


class Subscription(Table):
    """A topic filter that each device subscribes to once it is connected."""

    topic: TopicFilter = Field(examples=["fleet/{device}/commands"])
    """Topic filter, + and # allowed; ``{device}`` and ``{fleet}`` are filled in."""

    qos: Qos = 0
    """Highest quality of service asked for."""


class Commands(Table):
    """How the cloud tells a device of this fleet what to do, and how the device answers."""

    topic: DeviceTopic = Field(examples=["fleet/{device}/commands"])
    """Topic of a device's commands, which it subscribes to; ``{device}`` and ``{fleet}`` are filled in."""

    answer: DeviceTopic = Field(examples=["fleet/{device}/answers"])
    """Topic of a device's answers; ``{device}`` and ``{fleet}`` are filled in."""

    qos: Qos = 1
    """Quality of service of commands and answers: 0, 1 or 2."""


class Will(Table):
    """The message that the broker publishes for a device that vanishes."""

    topic: TopicTemplate = Field(examples=["fleet/{device}/gone"])
    """Topic of the message; ``{device}`` and ``{fleet}`` are filled in."""

    payload: TextTemplate = ""
    """The message; ``{device}`` and ``{fleet}`` are filled in."""

    qos: Qos = 0
    """Quality of service: 0, 1 or 2."""

    retain: Flag = False
    """Whether the broker keeps the message for later subscribers."""


class Reconnect(Table):
    """What a device does when it loses its connection: exponential back-off with full jitter.

    Before attempt n (from 0) it waits a random time between nothing and 2ⁿ times ``first``, at most ``most``.
    """

    enabled: Flag = True
    """Whether a device connects again by itself at all."""

    first: Interval = SECOND
    """Longest wait before the first attempt."""

    most: Interval = 60 * SECOND
    """Longest wait before any attempt."""

    def mistakes(self) -> Iterator[Mistake]:
        """Yield a bound that is already passed at the start."""
        if self.most < self.first:
            yield Mistake(("most",), "expected a duration that is not shorter than first")


class Fleet(Table):
    """Devices that behave alike, each with a certificate of its own."""

    devices: Count = Field(examples=[500])
    """How many devices there are."""

    key: KeyKind = KeyKind.EC_P256
    """Algorithm and size of each device's private key."""

    certificates: CertificateKind = CertificateKind.ISSUED
    """``issued`` by an authority, or ``self-signed``: then a broker is told to trust each of them alone."""

    revoked: Share = 0.0
    """Share of the devices whose certificate is revoked from the start, for the broker to refuse them.

    Drawn by the seed among the devices, except those that a store holds as revoked already, which come first.
    Brokers that the run starts get the authority's revocation list; of a revoked self-signed certificate they
    are just not told.
    """

    mqtt: Mqtt = MqttVersion.V311
    """Protocol version: 3.1.1 or 5.0."""

    tls: Tls = TlsVersion.ANY
    """TLS versions that a device offers: 1.2, 1.3, or any of the two."""

    groups: tuple[Text, ...] = ("X25519", "P-256", "P-384")
    """Key exchange groups that a device offers, best first; an empty list offers what OpenSSL does.

    Units in the field offer these three. OpenSSL would put the hybrid ``X25519MLKEM768`` first, which costs
    0.1 ms of CPU a connect and 9 KiB for as long as the connection lasts.
    """

    ciphers: tuple[Text, ...] = ()
    """Cipher suites that a device offers, by OpenSSL's names; without any, what OpenSSL offers."""

    alpn: tuple[Text, ...] = ()
    """Application protocols that a device offers (ALPN), best first."""

    server_name: Annotated[str | None, Field(min_length=1)] = None
    """Host name that a device asks for (SNI) and expects; without it, the endpoint's."""

    verify_host_name: Flag = True
    """Whether a device refuses a broker whose certificate is for another host."""

    resumption: Flag = False
    """Whether a device that reconnects offers the TLS session that it got last, by ticket or session id.

    It offers it to endpoints of the same name, under TLS 1.3 each ticket once. Resumed handshakes are timed
    apart, as ``tls_resumption``.
    """

    validity: Interval = 365 * _DAY
    """How long a device's certificate is valid from the moment it is issued."""

    store: Annotated[str | None, Field(min_length=1)] = None
    """A fleet file to take the credentials from, relative to the scenario's folder; made if it is missing."""

    client_id: ClientId = "{device}"
    """Client identifier; ``{device}`` and ``{fleet}`` are filled in."""

    keepalive: KeepAlive = 60 * SECOND
    """Longest silence before a device pings the broker, in whole seconds; 0s turns it off."""

    clean_start: Flag = True
    """Whether a device forgets its earlier session when it connects; 3.1.1 calls it clean session."""

    session_expiry: SessionExpiry = 0
    """How long the broker keeps a session after its connection, in whole seconds; MQTT 5.0 only."""

    receive_maximum: Annotated[int, Field(strict=True, ge=1, le=65_535)] = 20
    """Most messages of QoS 1 and 2 that a device has under way at once."""

    user_properties: dict[Text, str] = Field({}, examples=[{"site": "north"}])
    """Names and values sent with each CONNECT; MQTT 5.0 only."""

    username: TextTemplate | None = None
    """User name sent with each CONNECT; ``{device}`` and ``{fleet}`` are filled in."""

    password: TextTemplate | None = Field(None, repr=False)
    """Password sent with each CONNECT; ``{device}`` and ``{fleet}`` are filled in."""

    will: Will | None = None
    """Message that the broker publishes for a device that vanishes."""

    telemetry: Telemetry | None = None
    """What each device publishes by itself."""

    subscribe: tuple[Subscription, ...] = ()
    """What each device subscribes to."""

    commands: Commands | None = None
    """Commands from the cloud, which stages send."""

    reconnect: Reconnect = Reconnect()
    """What a device does when it loses its connection."""

    connect_timeout: Interval = 10 * SECOND
    """Longest a connection attempt may take, from TCP to CONNACK."""

    ack_timeout: Interval = 10 * SECOND
    """Longest the broker may take to acknowledge a message or a subscription."""

    def mistakes(self) -> Iterator[Mistake]:
        """Yield settings that the chosen protocol versions do not have."""
        if self.mqtt is not MqttVersion.V5:
            for key in _ONLY_MQTT_5:
                if key in self.model_fields_set:
                    yield Mistake((key,), f'needs mqtt = "5.0", and this fleet speaks {quote(self.mqtt)}')
        if self.mqtt is MqttVersion.V311 and self.password is not None and self.username is None:
            yield Mistake(("password",), "needs a username beside it under MQTT 3.1.1 [MQTT-3.1.2-22]")
        yield from self._mismatched_ciphers()

    def _mismatched_ciphers(self) -> Iterator[Mistake]:
        """Yield suites of the TLS version that is not offered: only those of 1.3 are called ``TLS_…``."""
        for index, suite in enumerate(self.ciphers):
            of = TlsVersion.V13 if suite.startswith("TLS_") else TlsVersion.V12
            if self.tls not in {of, TlsVersion.ANY}:
                yield Mistake(
                    ("ciphers", index),
                    f"{quote(suite)} belongs to TLS {of}, and this fleet offers {self.tls}",
                )
