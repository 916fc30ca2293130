"""Options are refused before any device uses them."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.mqtt.options import SessionOptions
from simulator.scenario.kinds import MqttVersion


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"keepalive": 65536}, "keepalive must be from 0 to 65535, not 65536"),
        ({"session_expiry": -1}, "session_expiry must be from 0"),
        ({"receive_maximum": 0}, "receive_maximum must be from 1"),
        ({"inflight_maximum": 65536}, "inflight_maximum must be from 1"),
        ({"maximum_packet_size": 0}, "maximum_packet_size must be at least 1"),
    ],
)
def test_values_out_of_range(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        SessionOptions(version=MqttVersion.V5, **fields)


@pytest.mark.parametrize("fields", [{"session_expiry": 1}, {"user_properties": (("a", "b"),)}])
def test_what_3_1_1_cannot_say(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"need MQTT 5\.0"):
        SessionOptions(version=MqttVersion.V311, **fields)
    SessionOptions(version=MqttVersion.V5, **fields)
