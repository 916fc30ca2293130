"""The types of a scenario's fields: each reads what people write, or says what it expected instead.

Values come out in base units: nanoseconds, events per second, shares of one, bytes. This module must not
know which table a field stands in; of the whole scenario it knows the names of the fleets, while one is read.
"""

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, PlainValidator, WithJsonSchema

from simulator.clock import MILLISECOND, SECOND
from simulator.scenario.endpoint import parse_endpoint
from simulator.scenario.kinds import Endpoint, MqttVersion, TlsVersion
from simulator.scenario.template import check_placeholders
from simulator.scenario.units import (
    format_duration,
    format_rate,
    parse_duration,
    parse_rate,
    parse_share,
    parse_size,
)
from simulator.scenario.wording import did_you_mean, quote

__all__ = [
    "ActionShare",
    "ClientId",
    "Count",
    "DeviceTopic",
    "Duration",
    "EndpointText",
    "Filter",
    "Flag",
    "FleetKey",
    "FleetName",
    "Interval",
    "KeepAlive",
    "Mqtt",
    "Period",
    "Port",
    "Qos",
    "Rate",
    "SessionExpiry",
    "Share",
    "Size",
    "StartRate",
    "Text",
    "TextTemplate",
    "Tls",
    "TopicFilter",
    "TopicTemplate",
    "fleets_named",
    "known_fleets",
]

MQTT_TLS_PORT = 8883
"""The port registered for MQTT over TLS (IANA "secure-mqtt")."""

_LONGEST_TEXT = 65_535
"""Bytes of UTF-8 in one MQTT string [MQTT-1.5.3]."""

_FLEETS: ContextVar[tuple[str, ...] | None] = ContextVar("fleets of the scenario being read", default=None)


@contextmanager
def fleets_named(names: Collection[str]) -> Iterator[None]:
    """Let every ``FleetName`` that is read meanwhile be one of ``names``."""
    token = _FLEETS.set(tuple(names))
    try:
        yield
    finally:
        _FLEETS.reset(token)


def known_fleets() -> tuple[str, ...]:
    """Return the names of the fleets of the scenario that is being read; none outside of that."""
    return _FLEETS.get() or ()


def _positive_duration(value: int) -> int:
    if value <= 0:
        raise ValueError(f"expected a duration above zero, not {quote(format_duration(value))}")
    return value


def _as_timers_have_it(value: int) -> int:
    """Refuse what no timer keeps up with: at every message, the generator would be late for the next one."""
    if value < MILLISECOND:
        raise ValueError(f'expected a duration of "1ms" or more, not {quote(format_duration(value))}')
    return value


def _positive_rate(value: float) -> float:
    if value <= 0:
        raise ValueError(f"expected a rate above zero, not {quote(format_rate(value))}")
    return value


def _positive_share(value: float) -> float:
    if value <= 0:
        raise ValueError("expected a share above zero")
    return value


def _seconds_up_to(most: int) -> AfterValidator:
    """Accept whole seconds that fit the field which MQTT gives them."""

    def check(value: int) -> int:
        if value % SECOND or value > most * SECOND:
            raise ValueError(f"expected whole seconds, at most {most}")
        return value

    return AfterValidator(check)


def _number_as_text(value: object) -> object:
    """Let ``tls = 1.3`` mean what it plainly means."""
    return str(value) if isinstance(value, float) else value


def _no_truth(value: object) -> object:
    """Keep ``true`` from counting as 1."""
    if isinstance(value, bool):
        raise ValueError(f"expected 0, 1 or 2, not {quote(value)}")  # noqa: TRY004 - pydantic collects ValueError
    return value


def _mqtt_text(value: str) -> str:
    if "\0" in value or len(value.encode()) > _LONGEST_TEXT:
        raise ValueError(
            f"expected at most {_LONGEST_TEXT} bytes without NUL, for MQTT carries no other text"
        )
    return value


def _names_devices(value: str) -> str:
    check_placeholders(value, ("device", "fleet"), needed=("device",))
    return value


def _text_template(value: str) -> str:
    check_placeholders(value, ("device", "fleet"))
    return value


def _topic(value: str) -> str:
    """Refuse wildcards in the topic of a message [MQTT-3.3.2-2]."""
    if "+" in value or "#" in value:
        raise ValueError(f"expected a topic without the wildcards + and #, not {quote(value)}")
    return value


def _topic_filter(value: str) -> str:
    """Refuse a wildcard that shares its level, and a # before the end [MQTT-4.7.1-2, MQTT-4.7.1-3]."""
    *parents, last = value.split("/")
    if "#" in "".join(parents) or any(
        len(level) > 1 and set(level) & set("+#") for level in (*parents, last)
    ):
        raise ValueError(f"expected + and # to fill a whole level, # the last one, not {quote(value)}")
    return value


def _fleet_key(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9_-]{1,24}", value):
        meant = re.sub(r"[^a-z0-9_-]+", "-", value.lower())[:24].strip("-")
        suggestion = f"; did you mean {quote(meant)}?" if meant else ""
        raise ValueError(
            f"expected a fleet name of 1 to 24 of a-z, 0-9, _ and -, not {quote(value)}{suggestion}"
        )
    return value


def _fleet_name(value: str) -> str:
    names = _FLEETS.get()
    if names is not None and value not in names:
        meant = did_you_mean(value, names) or "."
        raise ValueError(
            f"unknown fleet {quote(value)}{meant} This scenario has: {', '.join(names) or 'none'}"
        )
    return value


def _endpoint(value: object) -> Endpoint:
    """Read where a broker listens."""
    return parse_endpoint(value, f"broker.example:{MQTT_TLS_PORT}", MQTT_TLS_PORT)


_DURATION_SCHEMA = WithJsonSchema(
    {"type": "string", "format": "duration", "examples": ["15s", "250ms", "1h30m"]}
)
_RATE_SCHEMA = WithJsonSchema({"type": "string", "format": "rate", "examples": ["100/s", "6000/m"]})
_SHARE_SCHEMA = WithJsonSchema({"type": ["number", "string"], "format": "share", "examples": [0.5, "50%"]})
_SIZE_SCHEMA = WithJsonSchema({"type": ["integer", "string"], "format": "size", "examples": ["4KiB", 256]})

Flag = Annotated[bool, Field(strict=True)]
Count = Annotated[int, Field(strict=True, ge=1)]
Port = Annotated[int, Field(strict=True, ge=0, le=65_535)]
Text = Annotated[str, Field(min_length=1)]

Duration = Annotated[
    int, BeforeValidator(parse_duration), PlainSerializer(format_duration, when_used="json"), _DURATION_SCHEMA
]
Interval = Annotated[Duration, AfterValidator(_positive_duration)]
Period = Annotated[Duration, AfterValidator(_as_timers_have_it)]
KeepAlive = Annotated[Duration, _seconds_up_to(65_535)]
SessionExpiry = Annotated[Duration, _seconds_up_to(0xFFFF_FFFF)]

StartRate = Annotated[
    float, BeforeValidator(parse_rate), PlainSerializer(format_rate, when_used="json"), _RATE_SCHEMA
]
Rate = Annotated[StartRate, AfterValidator(_positive_rate)]
Share = Annotated[float, BeforeValidator(parse_share), _SHARE_SCHEMA]
ActionShare = Annotated[Share, AfterValidator(_positive_share)]
Size = Annotated[int, BeforeValidator(parse_size), _SIZE_SCHEMA]

Mqtt = Annotated[MqttVersion, BeforeValidator(_number_as_text)]
Tls = Annotated[TlsVersion, BeforeValidator(_number_as_text)]
Qos = Annotated[Literal[0, 1, 2], BeforeValidator(_no_truth)]

TextTemplate = Annotated[str, AfterValidator(_mqtt_text), AfterValidator(_text_template)]
ClientId = Annotated[Text, AfterValidator(_mqtt_text), AfterValidator(_names_devices)]
TopicTemplate = Annotated[
    Text, AfterValidator(_mqtt_text), AfterValidator(_text_template), AfterValidator(_topic)
]
TopicFilter = Annotated[
    Text, AfterValidator(_mqtt_text), AfterValidator(_text_template), AfterValidator(_topic_filter)
]

DeviceTopic = Annotated[TopicTemplate, AfterValidator(_names_devices)]
Filter = Annotated[Text, AfterValidator(_mqtt_text), AfterValidator(_topic_filter)]

FleetKey = Annotated[str, AfterValidator(_fleet_key)]
FleetName = Annotated[str, AfterValidator(_fleet_name)]
EndpointText = Annotated[
    Endpoint,
    PlainValidator(_endpoint),
    PlainSerializer(str, when_used="json"),
    WithJsonSchema(
        {"type": "string", "format": "endpoint", "examples": ["broker.example:8883", "[::1]:8883"]}
    ),
]
