from __future__ import annotations

import pickle
import tomllib
from typing import Any

import pytest
from pydantic import ValidationError

from simulator.clock import MILLISECOND, SECOND
from simulator.scenario.kinds import ArrivalKind, BrokerKind, Endpoint, KeyKind, MqttVersion, TlsVersion
from simulator.scenario.model import FixedPayload, Fleet, Scenario, Telemetry, TemplatePayload

FULL = """
title = "Everything that can be said"
seed = 7
[broker]
kind = "external"
endpoints = ["a.example", "[::1]:1884", "10.0.0.1:8884"]
trust = ["ca.pem"]
server_name = "broker.example"
[fleet.core2]
devices = 500
key = "ed25519"
mqtt = "5.0"
tls = 1.2
groups = ["X25519", "P-256"]
ciphers = ["ECDHE-ECDSA-AES128-GCM-SHA256"]
alpn = ["mqtt"]
server_name = "sni.example"
verify_host_name = false
validity = "1h"
store = "core2.fleet"
client_id = "unit-{device}"
keepalive = "30s"
clean_start = false
session_expiry = "1h"
receive_maximum = 5
user_properties = { site = "north" }
username = "{fleet}-{device}"
password = "secret"
will = { topic = "gone/{device}", payload = "{device}", qos = 1, retain = true }
subscribe = [{ topic = "cmd/{device}/#", qos = 2 }, { topic = "all/+" }]
reconnect = { first = "500ms", most = "8s", enabled = false }
connect_timeout = "5s"
ack_timeout = "4s"
[fleet.core2.telemetry]
topic = "t/{device}"
every = "1s"
jitter = "20%"
qos = 2
retain = true
payload = { size = "1KiB" }
[[stage]]
name = "ramp"
connect = { fleet = "core2", rate = "100/s", arrivals = "ramp", from = "10/s", share = 0.5 }
[[stage]]
name = "mix"
duration = "1m"
connect = { fleet = "core2", rate = "600/m", arrivals = "burst", size = 50, share = "50%" }
reconnect = { fleet = "core2", share = 0.25, within = "2s", abrupt = true }
disconnect = { fleet = "core2", share = 1, rate = "10/s" }
publish = { fleet = "core2", rate = "5/s", qos = 0 }
[thresholds]
"tls_handshake.p99" = "< 800ms"
"core2.publish.p99" = "< 1s"
[limits]
connecting = 10
lag = "20ms"
drain = "0s"
"""


def read(text: str) -> Scenario:
    return Scenario.model_validate(tomllib.loads(text))


def test_reads_everything_into_base_units() -> None:
    scenario = read(FULL)
    broker, fleet = scenario.broker, scenario.fleets["core2"]
    assert scenario.seed == 7
    assert broker.kind is BrokerKind.EXTERNAL
    assert broker.endpoints == (
        Endpoint("a.example", 8883),
        Endpoint("::1", 1884),
        Endpoint("10.0.0.1", 8884),
    )
    assert (fleet.key, fleet.mqtt, fleet.tls) == (KeyKind.ED25519, MqttVersion.V5, TlsVersion.V12)
    assert (fleet.validity, fleet.keepalive) == (3_600 * SECOND, 30 * SECOND)
    assert fleet.will is not None
    assert fleet.will.retain
    assert [each.qos for each in fleet.subscribe] == [2, 0]
    assert fleet.reconnect.first == 500 * MILLISECOND
    assert fleet.telemetry is not None
    assert fleet.telemetry.jitter == pytest.approx(0.2)
    assert fleet.telemetry.payload == FixedPayload(size=1024)
    assert scenario.limits.lag == 20 * MILLISECOND


def test_reads_the_stages_in_their_order() -> None:
    ramp, mix = read(FULL).stages
    assert ramp.connect is not None
    assert (ramp.connect.arrivals, ramp.connect.from_rate, ramp.connect.rate) == (ArrivalKind.RAMP, 10, 100)
    assert mix.connect is not None
    assert (mix.connect.rate, mix.connect.size, mix.connect.share) == (10, 50, 0.5)
    assert mix.reconnect is not None
    assert (mix.reconnect.within, mix.reconnect.rate, mix.reconnect.abrupt) == (2 * SECOND, None, True)
    assert mix.disconnect is not None
    assert mix.disconnect.rate == 10
    assert mix.publish is not None
    assert mix.publish.qos == 0


def test_reads_thresholds_with_the_names_of_the_fleets() -> None:
    overall, of_fleet = read(FULL).thresholds
    assert (overall.measure, overall.limit, overall.of.fleet) == ("tls_handshake.p99", "< 800ms", None)
    assert of_fleet.of.fleet == "core2"


def test_little_has_to_be_said() -> None:
    stage = '[[stage]]\nname = "s"\nconnect = { fleet = "a", rate = "1/s" }\n'
    scenario = read(f'title = "x"\n[fleet.a]\ndevices = 1\n{stage}')
    fleet = scenario.fleets["a"]
    assert scenario.broker.kind is BrokerKind.EMBEDDED
    assert (scenario.broker.host, scenario.broker.port) == ("127.0.0.1", 0)
    assert (fleet.key, fleet.mqtt, fleet.tls) == (KeyKind.EC_P256, MqttVersion.V311, TlsVersion.ANY)
    assert fleet.verify_host_name
    assert fleet.receive_maximum == 20
    assert fleet.telemetry is None
    assert scenario.thresholds == ()


def test_goes_to_another_process_and_back() -> None:
    scenario = read(FULL)
    assert pickle.loads(pickle.dumps(scenario)) == scenario


def test_what_it_writes_reads_the_same() -> None:
    scenario = read(FULL)
    dumped = scenario.model_dump(mode="json", by_alias=True, exclude_unset=True)
    assert dumped["fleet"]["core2"]["telemetry"]["every"] == "1s"
    assert dumped["stage"][0]["connect"]["from"] == "10/s"
    assert dumped["thresholds"]["tls_handshake.p99"] == "< 800ms"
    assert Scenario.model_validate(dumped) == scenario


def test_a_scenario_is_kept_as_it_is_when_validated_again() -> None:
    scenario = read(FULL)
    assert Scenario.model_validate(scenario) is scenario


def test_cannot_be_changed() -> None:
    fleet = Fleet(devices=1)
    with pytest.raises(ValidationError, match="frozen"):
        setattr(fleet, "devices", 2)  # noqa: B010 - mypy rightly refuses the plain assignment


def test_keeps_the_password_out_of_its_repr() -> None:
    assert "secret" not in repr(read(FULL))


@pytest.mark.parametrize(
    ("payload", "value"),
    [
        ("core2", "core2"),
        ({"size": 256}, FixedPayload(size=256)),
        ({"template": "{device} {counter} {due}"}, TemplatePayload(template="{device} {counter} {due}")),
        (FixedPayload(size=64), FixedPayload(size=64)),
    ],
)
def test_reads_each_kind_of_payload(payload: object, value: object) -> None:
    assert Telemetry(topic="t/{device}", every="1s", payload=payload).payload == value


def tables(schema: dict[str, Any]) -> list[dict[str, Any]]:
    return [schema, *schema["$defs"].values()]


def test_every_field_says_what_it_means() -> None:
    described = [
        (table["title"], name, field.get("description"))
        for table in tables(Scenario.model_json_schema(mode="validation"))
        for name, field in table.get("properties", {}).items()
    ]
    assert len(described) > 60
    assert [each for each in described if not each[2]] == []


def test_defaults_are_shown_as_people_write_them() -> None:
    fleet = Scenario.model_json_schema(mode="serialization")["$defs"]["Fleet"]["properties"]
    assert (fleet["validity"]["default"], fleet["connect_timeout"]["default"]) == ("365d", "10s")
