"""What the devices of a fleet share."""

from __future__ import annotations

from simulator.devices.context import Gate, options_of
from simulator.mqtt.options import SessionOptions
from simulator.scenario.kinds import MqttVersion
from simulator.scenario.model import Fleet


def test_the_gate_lets_in_as_many_as_it_has_places() -> None:
    gate = Gate(2)
    assert [gate.enter() for _ in range(3)] == [True, True, False]
    gate.leave()
    assert gate.enter()
    assert gate.used == 2


def test_a_fleet_s_settings_become_those_of_its_sessions() -> None:
    fleet = Fleet.model_validate(
        {
            "devices": 1,
            "mqtt": "5.0",
            "keepalive": "90s",
            "clean_start": False,
            "session_expiry": "1h",
            "receive_maximum": 5,
            "user_properties": {"site": "north", "line": "2"},
        }
    )
    assert options_of(fleet) == SessionOptions(
        version=MqttVersion.V5,
        clean_start=False,
        keepalive=90,
        session_expiry=3600,
        receive_maximum=5,
        inflight_maximum=5,
        maximum_packet_size=1 << 20,
        user_properties=(("site", "north"), ("line", "2")),
    )
