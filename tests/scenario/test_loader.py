from __future__ import annotations

import copy
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomlkit
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulator.errors import ScenarioError, UsageError
from simulator.scenario.kinds import BrokerKind
from simulator.scenario.loader import load
from simulator.scenario.shipped import shipped

GOOD = """\
title = "x"
seed  = 1
[broker]
kind = "mosquitto"
[fleet.core2]
devices = 500
mqtt = "3.1.1"
tls = "any"
[fleet.core2.telemetry]
topic = "fleet/{device}/telemetry"
every = "1s"
qos = 1
payload = "core2"
[fleet.gateway]
devices = 5
[[stage]]
name = "ramp"
connect = { fleet = "core2", rate = "100/s" }
[[stage]]
name = "more"
connect = { fleet = "gateway", rate = "5/s" }
[[stage]]
name = "storm"
reconnect = { fleet = "core2", share = 0.5, within = "2s" }
[thresholds]
"tls_handshake.p99" = "< 800ms"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "x.toml"
    path.write_text(text, encoding="utf-8")
    return path


def mistakes(path: Path, *overrides: str, seed: int | None = None, broker: str | None = None) -> list[str]:
    """Return the sentences about a file, its folder left out."""
    with pytest.raises(ScenarioError) as caught:
        load(path, overrides, seed=seed, broker=broker)
    return [sentence.removeprefix(f"{path.parent}/") for sentence in caught.value.problems]


# What to replace in the good file, with what, and the one sentence that is expected.
WRONG = [
    ('title = "x"', "", '1: the key "title" is missing, for instance title = "Five hundred units connect"'),
    ('title = "x"', "title = 5", '1: title: expected text in quotes, not 5; did you mean "5"?'),
    ('title = "x"', 'title = ""', '1: title: expected text, not ""'),
    ("seed  = 1", "sed = 1", '2: sed: unknown key; did you mean "seed"?'),
    ("seed  = 1", "seed = -1", "2: seed: expected 0 or more, not -1"),
    ("seed  = 1", "limits = 5", "2: limits: expected a table, not 5"),
    ("seed  = 1", "limits.lag = '0s'", '2: limits.lag: expected a duration above zero, not "0s"'),
    (
        'every = "1s"',
        'every = "1ns"',
        '11: fleet.core2.telemetry.every: expected a duration of "1ms" or more, not "1ns"',
    ),
    (
        "seed  = 1",
        "purple = 1",
        "2: purple: unknown key; "
        'expected "broker", "cloud", "fleet", "limits", "link", "observe", "seed", '
        '"stage", "thresholds" or "title"',
    ),
    (
        '"mosquitto"',
        '"mosqito"',
        "4: broker.kind: "
        'expected "embedded", "mosquitto" or "external", not "mosqito"; did you mean "mosquitto"?',
    ),
    ('"mosquitto"', '"mosquitto"\nport = 65536', "5: broker.port: expected 65535 or less, not 65536"),
    ('"mosquitto"', '"mosquitto"\ncount = 0', "5: broker.count: expected 1 or more, not 0"),
    (
        '"mosquitto"',
        '"mosquitto"\nport = 65534\ncount = 3',
        "5: broker.port: leaves no room for 3 brokers up to port 65535",
    ),
    (
        '"mosquitto"',
        '"embedded"\ncount = 2',
        '5: broker.count: there is one embedded broker; use kind = "mosquitto" for several',
    ),
    (
        '"mosquitto"',
        '"external"\nendpoints = ["a"]\ncount = 2',
        '6: broker.count: belongs to a broker of kind "embedded" or "mosquitto", and this one is "external"',
    ),
    (
        '"mosquitto"',
        '"mosquitto"\ncount = 2\n[observe]',
        "5: broker.count: the run observes, or commands, from one broker, and several share nothing: use"
        " count = 1, or an external cluster",
    ),
    (
        '"mosquitto"',
        '"mosquitto"\n[link]\nsource = ["127.0.0.300"]',
        '6: link.source[0]: expected an address, a range such as "127.0.0.2-127.0.0.9", a block such as'
        ' "10.0.0.0/24", or an interface, not "127.0.0.300": \'127.0.0.300\' does not appear to be an IPv4 or'
        " IPv6 address",
    ),
    (
        '"mosquitto"',
        '"mosquitto"\nendpoints = ["a"]',
        '5: broker.endpoints: belongs to a broker of kind "external", and this one is "mosquitto"',
    ),
    (
        '"mosquitto"',
        '"external"',
        '3: broker.endpoints: an external broker needs endpoints = ["host:8883"]',
    ),
    (
        '"mosquitto"',
        '"external"\nendpoints = ["a"]\nhost = "b"',
        '6: broker.host: belongs to a broker of kind "embedded" or "mosquitto", and this one is "external"',
    ),
    (
        '"mosquitto"',
        '"external"\nendpoints = ["mqtts://a:1"]',
        '5: broker.endpoints[0]: expected an endpoint such as "broker.example:8883" or "[::1]:8883", '
        'not "mqtts://a:1"',
    ),
    (
        '"mosquitto"',
        '"external"\nendpoints = [\n"a",\n"b:70000"]',
        '7: broker.endpoints[1]: expected an endpoint such as "broker.example:8883" or "[::1]:8883", '
        'not "b:70000"',
    ),
    ("devices = 500", "devces = 500", '6: fleet.core2.devces: unknown key; did you mean "devices"?'),
    ("devices = 500", "", '5: fleet.core2: the key "devices" is missing, for instance devices = 500'),
    (
        "devices = 500",
        'devices = "500"',
        '6: fleet.core2.devices: expected a whole number, not "500"; did you mean 500?',
    ),
    (
        "devices = 500",
        "devices = 500.0",
        "6: fleet.core2.devices: expected a whole number, not 500.0; did you mean 500?",
    ),
    ("devices = 500", "devices = 1.5", "6: fleet.core2.devices: expected a whole number, not 1.5"),
    ("devices = 500", "devices = true", "6: fleet.core2.devices: expected a whole number, not true"),
    ("devices = 500", "devices = 0", "6: fleet.core2.devices: expected 1 or more, not 0"),
    ('"3.1.1"', '"5"', '7: fleet.core2.mqtt: expected "3.1.1" or "5.0", not "5"; did you mean "5.0"?'),
    ('"any"', "1.1", '8: fleet.core2.tls: expected "1.2", "1.3" or "any", not "1.1"; did you mean "1.3"?'),
    (
        'tls = "any"',
        'key = "ec-p265"',
        '8: fleet.core2.key: expected "ec-p256", "ec-p384", "ed25519", "rsa-2048" or "rsa-3072", '
        'not "ec-p265"; did you mean "ec-p256"?',
    ),
    (
        'tls = "any"',
        'tls = "1.2"\nciphers = ["TLS_AES_128_GCM_SHA256"]',
        '9: fleet.core2.ciphers[0]: "TLS_AES_128_GCM_SHA256" belongs to TLS 1.3, and this fleet offers 1.2',
    ),
    (
        'tls = "any"',
        'tls = "1.3"\nciphers = ["TLS_AES_128_GCM_SHA256", "AES128-SHA"]',
        '9: fleet.core2.ciphers[1]: "AES128-SHA" belongs to TLS 1.2, and this fleet offers 1.3',
    ),
    (
        'tls = "any"',
        'session_expiry = "1h"',
        '8: fleet.core2.session_expiry: needs mqtt = "5.0", and this fleet speaks "3.1.1"',
    ),
    (
        'tls = "any"',
        'user_properties = { site = "a" }',
        '8: fleet.core2.user_properties: needs mqtt = "5.0", and this fleet speaks "3.1.1"',
    ),
    (
        'tls = "any"',
        "user_properties = { site = 7 }",
        '8: fleet.core2.user_properties.site: expected text in quotes, not 7; did you mean "7"?',
    ),
    (
        'tls = "any"',
        'password = "p"',
        "8: fleet.core2.password: needs a username beside it under MQTT 3.1.1 [MQTT-3.1.2-22]",
    ),
    (
        'tls = "any"',
        'keepalive = "1500ms"',
        "8: fleet.core2.keepalive: expected whole seconds, at most 65535",
    ),
    ('tls = "any"', 'keepalive = "19h"', "8: fleet.core2.keepalive: expected whole seconds, at most 65535"),
    ('tls = "any"', "receive_maximum = 0", "8: fleet.core2.receive_maximum: expected 1 or more, not 0"),
    (
        'tls = "any"',
        'clean_start = "no"',
        '8: fleet.core2.clean_start: expected true or false, not "no"; did you mean false?',
    ),
    ('tls = "any"', "clean_start = 7", "8: fleet.core2.clean_start: expected true or false, not 7"),
    (
        'tls = "any"',
        'groups = "X25519"',
        '8: fleet.core2.groups: expected a list, not "X25519"; did you mean ["X25519"]?',
    ),
    (
        'tls = "any"',
        'client_id = "unit"',
        '8: fleet.core2.client_id: expected text with {device} in it, not "unit"',
    ),
    (
        'tls = "any"',
        'username = "{devise}"',
        "8: fleet.core2.username: "
        'expected {device} or {fleet} in braces, not {devise}; did you mean "device"?',
    ),
    (
        'tls = "any"',
        'username = "a\\u0000"',
        "8: fleet.core2.username: expected at most 65535 bytes without NUL, for MQTT carries no other text",
    ),
    (
        'tls = "any"',
        'reconnect = { first = "2s", most = "1s" }',
        "8: fleet.core2.reconnect.most: expected a duration that is not shorter than first",
    ),
    (
        'tls = "any"',
        'subscribe = [{ topic = "a/b#" }]',
        "8: fleet.core2.subscribe[0].topic: "
        'expected + and # to fill a whole level, # the last one, not "a/b#"',
    ),
    (
        'tls = "any"',
        'subscribe = [{ topic = "#/a" }]',
        "8: fleet.core2.subscribe[0].topic: "
        'expected + and # to fill a whole level, # the last one, not "#/a"',
    ),
    (
        'tls = "any"',
        'subscribe = { topic = "a" }',
        "8: fleet.core2.subscribe: "
        "expected [[fleet.core2.subscribe]], which may be given again, not [fleet.core2.subscribe]",
    ),
    (
        '"fleet/{device}/telemetry"',
        '"fleet/+/telemetry"',
        "10: fleet.core2.telemetry.topic: "
        'expected a topic without the wildcards + and #, not "fleet/+/telemetry"',
    ),
    (
        '"1s"',
        '"1 sec"',
        "11: fleet.core2.telemetry.every: "
        'expected a duration such as "15s" or "250ms", not "1 sec"; did you mean "1s"?',
    ),
    ("qos = 1", "qos = 3", "12: fleet.core2.telemetry.qos: expected 0, 1 or 2, not 3"),
    ("qos = 1", "qos = true", "12: fleet.core2.telemetry.qos: expected 0, 1 or 2, not true"),
    (
        "qos = 1",
        "jitter = 10",
        "12: fleet.core2.telemetry.jitter: "
        'expected a share between 0 and 1, or a percentage such as "50%", not 10; did you mean "10%"?',
    ),
    (
        'payload = "core2"',
        'payload = "core"',
        '13: fleet.core2.telemetry.payload: expected "core2", { size = "256B" } or { template = "…" }, '
        'not "core"; did you mean "core2"?',
    ),
    (
        'payload = "core2"',
        "payload = {}",
        '13: fleet.core2.telemetry.payload: expected "core2", { size = "256B" } or { template = "…" }, '
        "not a table",
    ),
    (
        'payload = "core2"',
        'payload = { size = "4kb" }',
        "13: fleet.core2.telemetry.payload.size: "
        'expected a size such as "256B" or "4KiB", not "4kb"; did you mean "4KiB"?',
    ),
    (
        'payload = "core2"',
        "payload = { size = 63 }",
        "13: fleet.core2.telemetry.payload.size: "
        "expected 64B or more, room for the device, a counter and the due time, not 63B",
    ),
    (
        'payload = "core2"',
        "payload = { size = 256, filler = 1 }",
        '13: fleet.core2.telemetry.payload.filler: unknown key; expected "size" or "template"',
    ),
    (
        'payload = "core2"',
        'payload = { template = "{device} {due}" }',
        "13: fleet.core2.telemetry.payload.template: "
        'expected text with {counter} in it, not "{device} {due}"',
    ),
    (
        "devices = 5\n",
        'devices = 5\nmqtt = "4"\n',
        '16: fleet.gateway.mqtt: expected "3.1.1" or "5.0", not "4"',
    ),
    (
        '"core2", rate',
        '"core", rate',
        "18: stage[0].connect.fleet: "
        'unknown fleet "core"; did you mean "core2"? This scenario has: core2, gateway',
    ),
    (
        '"core2", rate',
        '"xyz", rate',
        '18: stage[0].connect.fleet: unknown fleet "xyz". This scenario has: core2, gateway',
    ),
    (
        '"100/s"',
        '"100/sec"',
        "18: stage[0].connect.rate: "
        'expected a rate such as "100/s" or "6000/m", not "100/sec"; did you mean "100/s"?',
    ),
    ('"100/s"', '"0/s"', '18: stage[0].connect.rate: expected a rate above zero, not "0/s"'),
    (
        ', rate = "100/s"',
        "",
        '18: stage[0].connect: the key "rate" is missing, for instance rate = "100/s"',
    ),
    ('"100/s"', '"100/s", share = 0', "18: stage[0].connect.share: expected a share above zero"),
    (
        '"100/s"',
        '"100/s", arrivals = "poison"',
        "18: stage[0].connect.arrivals: "
        'expected "constant", "ramp", "poisson" or "burst", not "poison"; did you mean "poisson"?',
    ),
    (
        '"100/s"',
        '"100/s", arrivals = "burst"',
        '18: stage[0].connect.size: arrivals = "burst" needs size, how many are due at once',
    ),
    (
        '"100/s"',
        '"100/s", size = 5',
        '18: stage[0].connect.size: belongs to arrivals = "burst", and these are "constant"',
    ),
    (
        '"100/s"',
        '"100/s", from = "1/s"',
        '18: stage[0].connect.from: belongs to arrivals = "ramp", and these are "constant"',
    ),
    (
        '"100/s"',
        '"100/s", from_rate = "1/s"',
        '18: stage[0].connect.from_rate: unknown key; did you mean "rate"?',
    ),
    (
        '"gateway", rate = "5/s"',
        '"gateway", rate = "5/s", shar = 1',
        '21: stage[1].connect.shar: unknown key; did you mean "share"?',
    ),
    (
        'connect = { fleet = "gateway", rate = "5/s" }',
        'duration = "1s"',
        "14: fleet.gateway: "
        'no stage connects this fleet; a stage needs connect = { fleet = "gateway", rate = "100/s" }',
    ),
    (
        'rate = "5/s" }',
        'rate = "5/s" }\npublish = { fleet = "core2", rate = "1/s" }',
        '19: stage[1]: a stage with publish needs a duration, for instance duration = "15s"',
    ),
    (
        'rate = "5/s" }',
        'rate = "5/s" }\nduration = "1s"\npublish = { fleet = "gateway", rate = "1/s" }',
        "23: stage[1].publish.fleet: "
        'fleet "gateway" has no [fleet.gateway.telemetry], whose topic this would use',
    ),
    (
        'rate = "5/s" }',
        'rate = "5/s" }\noutage = "1s"',
        '19: stage[1]: a stage with outage needs a duration, for instance duration = "15s"',
    ),
    (
        'rate = "5/s" }',
        'rate = "5/s" }\noutage = "90s"\nduration = "1m"',
        '23: stage[1].duration: expected "1m30s" or more, the length of the outage',
    ),
    (
        'rate = "5/s" }',
        'rate = "5/s" }\ndisconnect = { fleet = "core2" }',
        '22: stage[1].disconnect: needs within = "2s", or rate = "100/s"',
    ),
    (
        ', within = "2s"',
        "",
        '24: stage[2].reconnect: needs within = "2s", or rate = "100/s"',
    ),
    (
        'within = "2s"',
        'within = "2s", rate = "5/s"',
        "24: stage[2].reconnect.rate: cannot stand beside within; keep one of the two",
    ),
    (
        'within = "2s"',
        'within = "2s", arrivals = "ramp"',
        '24: stage[2].reconnect.arrivals: "ramp" needs rate instead of within',
    ),
    (
        'reconnect = { fleet = "core2", share = 0.5, within = "2s" }',
        "",
        '22: stage[2]: needs a duration, for instance duration = "15s", or something to do',
    ),
    (
        'rate = "100/s" }',
        'rate = "100/s", share = "25%" }',
        '24: stage[2].reconnect: asks for 0.5 of fleet "core2", and 0.25 of it is connected by then',
    ),
    (
        'rate = "5/s" }',
        'rate = "5/s" }\n[[stage]]\nname = "again"\nconnect = { fleet = "core2", rate = "1/s", share = 0.1 }',
        '24: stage[2].connect: asks for 0.1 of fleet "core2", and 0 of it is not connected by then',
    ),
    (
        "[thresholds]",
        '[observe]\nfleets = ["gateway"]\n[thresholds]',
        '26: observe.fleets[0]: fleet "gateway" has no [fleet.gateway.telemetry] to observe',
    ),
    (
        "[thresholds]",
        '[observe]\nfleet = ["gateway"]\n[thresholds]',
        '26: observe.fleet: unknown key; did you mean "fleets"?',
    ),
    (
        "[thresholds]",
        '[observe]\ntopics = ["fleet/#/x"]\n[thresholds]',
        '26: observe.topics[0]: expected + and # to fill a whole level, # the last one, not "fleet/#/x"',
    ),
    (
        "[thresholds]",
        '[observe]\ntopics = ["fleet/+/telemetry", "fleet/#"]\n[thresholds]',
        '26: observe.topics: "fleet/+/telemetry" and "fleet/#" overlap, '
        "and a broker may deliver a message for each; keep their topics apart",
    ),
    (
        'payload = "core2"',
        'payload = { template = "{device}{counter} {due}" }\n[observe]',
        "13: fleet.core2.telemetry.payload.template: "
        "an observer cannot tell {device} and {counter} apart with nothing between them",
    ),
    (
        "[thresholds]",
        '[cloud]\nkey = "a.key"\n[thresholds]',
        '26: cloud.key: needs certificate = "….pem" beside it',
    ),
    (
        "[thresholds]",
        '[cloud]\ncertificate = "a.pem"\n[thresholds]',
        '26: cloud.certificate: needs key = "….key" beside it',
    ),
    (
        "[thresholds]",
        '[cloud]\ncertificate = "a.pem"\nkey = "a.key"\n[thresholds]',
        "26: cloud.certificate: "
        "belongs to an external broker; one that the run starts trusts what the run issues itself",
    ),
    (
        'rate = "5/s" }',
        'rate = "5/s" }\nduration = "1s"\ncommand = { fleet = "gateway", rate = "1/s" }',
        "23: stage[1].command.fleet: "
        'fleet "gateway" has no [fleet.gateway.commands], whose topics this would use',
    ),
    (
        'rate = "5/s" }',
        'rate = "5/s" }\ncommand = { fleet = "gateway", rate = "1/s" }\n'
        '[fleet.gateway.commands]\ntopic = "c/{device}"\nanswer = "a/{device}"',
        '19: stage[1]: a stage with command needs a duration, for instance duration = "15s"',
    ),
    (
        "devices = 5\n",
        'devices = 5\ncommands = { topic = "c/{device}", answer = "c/{device}" }\n',
        "16: fleet.gateway.commands.answer: "
        "must differ from topic: a device would take its own answers for commands",
    ),
    (
        "devices = 5\n",
        'devices = 5\nsubscribe = [{ topic = "c/#" }]\n'
        'commands = { topic = "c/{device}", answer = "a/{device}" }\n',
        "16: fleet.gateway.subscribe[0].topic: "
        'matches the topic of commands, "c/{device}", which is subscribed to anyway',
    ),
    (
        "devices = 5\n",
        'devices = 5\ncommands = { topic = "c/all", answer = "c/{device}" }\n',
        '16: fleet.gateway.commands.topic: expected text with {device} in it, not "c/all"',
    ),
    (
        '"< 800ms"',
        '"< 800 ms"',
        '26: thresholds."tls_handshake.p99": '
        'expected a duration such as "15s" or "250ms", not "800 ms"; did you mean "800ms"?',
    ),
]


@pytest.mark.parametrize(("old", "new", "sentence"), WRONG, ids=[sentence for _, _, sentence in WRONG])
def test_each_mistake_is_one_sentence(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    assert GOOD.count(old) >= 1
    path = write(tmp_path, GOOD.replace(old, new, 1))
    assert mistakes(path) == [f"x.toml:{sentence}"]


def test_the_file_that_all_these_differ_from_is_good(tmp_path: Path) -> None:
    loaded = load(write(tmp_path, GOOD))
    assert loaded.text == GOOD
    assert loaded.name == "x"
    assert loaded.folder == tmp_path
    assert list(loaded.scenario.fleets) == ["core2", "gateway"]


def test_paths_in_a_scenario_start_from_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    loaded = load(write(tmp_path, GOOD))
    assert loaded.resolve("certs/ca.pem") == tmp_path / "certs" / "ca.pem"
    assert loaded.resolve("/etc/ca.pem") == Path("/etc/ca.pem")
    assert loaded.resolve("~/ca.pem") == Path("/home/somebody/ca.pem")


def test_all_mistakes_come_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = GOOD
    for old, new in (
        ("seed  = 1", "sed = 1"),
        ('kind = "mosquitto"', 'kind = "embedded"'),
        ('mqtt = "3.1.1"', 'mqtt = "5.0"'),
        ('every = "1s"', 'every = "1 sec"'),
        ("devices = 5\n", "devces = 5\nmqtt = 5.0\n"),
        ('"core2", rate', '"core", rate'),
        ('"100/s"', '"100"'),
        ('"more"', '"storm"'),
        ("tls_handshake.p99", "tls_handshak.p99"),
    ):
        text = text.replace(old, new, 1)
    sentences = mistakes(write(tmp_path, text))
    assert [sentence.split(": ")[:2] for sentence in sentences] == [
        ["x.toml:2", "sed"],
        ["x.toml:11", "fleet.core2.telemetry.every"],
        ["x.toml:15", "fleet.gateway.devces"],
        ["x.toml:19", "stage[0].connect.fleet"],
        ["x.toml:19", "stage[0].connect.rate"],
        ["x.toml:24", "stage[2].name"],
        ["x.toml:27", 'thresholds."tls_handshak.p99"'],
    ]


def test_a_fleet_that_reads_well_is_held_against_the_broker_whatever_else_is_wrong(tmp_path: Path) -> None:
    text = GOOD.replace('"mosquitto"', '"embedded"').replace('"3.1.1"', "5.0").replace("seed  = 1", "sed = 1")
    assert mistakes(write(tmp_path, text)) == [
        'x.toml:2: sed: unknown key; did you mean "seed"?',
        "x.toml:7: fleet.core2.mqtt: "
        'the embedded broker speaks 3.1.1; use kind = "mosquitto" or mqtt = "3.1.1"',
    ]


def test_an_external_broker_cannot_be_taken_away(tmp_path: Path) -> None:
    text = GOOD.replace('"mosquitto"', '"external"\nendpoints = ["a"]')
    text = text.replace('rate = "5/s" }', 'rate = "5/s" }\noutage = "1s"\nduration = "1s"')
    assert mistakes(write(tmp_path, text)) == [
        "x.toml:23: stage[1].outage: an external broker cannot be stopped from here; "
        'use kind = "mosquitto" or "embedded"'
    ]


def test_a_file_with_nothing_in_it_lacks_three_things(tmp_path: Path) -> None:
    assert mistakes(write(tmp_path, "")) == [
        'x.toml:1: the key "title" is missing, for instance title = "Five hundred units connect"',
        "x.toml:1: fleet: expected at least one [fleet.NAME]",
        "x.toml:1: stage: expected at least one [[stage]]",
    ]


def test_tables_of_the_wrong_shape(tmp_path: Path) -> None:
    fleets = '[fleet."B c"]\ndevices = 1\n[fleet."é"]\ndevices = 1\n'
    text = f'title = "x"\nbroker = []\nthresholds = 1\n{fleets}[stage]'
    expected = "expected a fleet name of 1 to 24 of a-z, 0-9, _ and -"
    assert mistakes(write(tmp_path, text)) == [
        "x.toml:2: broker: expected a table, not a list",
        'x.toml:3: thresholds: expected a table with lines such as "failures" = "== 0", not 1',
        f'x.toml:4: fleet."B c": {expected}, not "B c"; did you mean "b-c"?',
        f'x.toml:6: fleet."é": {expected}, not "é"',
        "x.toml:8: stage: expected [[stage]], which may be given again, not [stage]",
    ]


def test_no_fleets_and_no_stages_are_as_bad_as_missing_ones(tmp_path: Path) -> None:
    assert mistakes(write(tmp_path, 'title = "x"\nfleet = {}\nstage = []\n')) == [
        "x.toml:2: fleet: expected at least one [fleet.NAME]",
        "x.toml:3: stage: expected at least one [[stage]]",
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("every = 15s", '1: not valid TOML: expected the end of the line; text such as "15s" needs quotes'),
        ("a = 1\nkey = ec", '2: not valid TOML: expected a value; text such as "15s" needs quotes'),
        ("a = { b = 100/s }", '1: not valid TOML: expected a comma or }; text such as "15s" needs quotes'),
        ("a = [1\nb = 2", '2: not valid TOML: expected a comma or ]; text such as "15s" needs quotes'),
        ('a = "15s\n', "1: not valid TOML: expected the closing quote of a text"),
        ('a = """15s\n', "2: not valid TOML: unterminated string"),
        ("a = 1\na = 2\n", "2: not valid TOML: this key is given twice"),
        ("a = { b = 1, b = 2 }\n", "1: not valid TOML: this key is given twice"),
        ("[a]\n[b]\n[a]\n", "3: not valid TOML: this table is given twice"),
        ("title", "1: not valid TOML: expected '=' after a key in a key/value pair"),
    ],
)
def test_a_text_that_is_not_toml(tmp_path: Path, text: str, sentence: str) -> None:
    assert mistakes(write(tmp_path, text)) == [f"x.toml:{sentence}"]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    assert mistakes(tmp_path / "y.toml") == [
        f"y.toml: there is no such file; did you mean {tmp_path}/x.toml?"
    ]
    ships = (
        "connect-storm, end-to-end, nineteen-thousand, quickstart, reconnect-after-outage, resumption, "
        "revocation, sixty-thousand, soak, steady-telemetry"
    )
    sub = tmp_path / "sub"
    assert mistakes(sub / "quikstart.toml") == [
        f'quikstart.toml: there is no such file; did you mean "quickstart"? These ship: {ships}'
    ]
    assert mistakes(sub / "0.toml") == [f"0.toml: there is no such file. These ship: {ships}"]


def test_a_name_that_does_not_ship() -> None:
    with pytest.raises(
        UsageError, match=r'^no scenario "quikstart" ships; did you mean "quickstart"\? There '
    ):
        load("quikstart")


def test_a_shipped_scenario_in_the_working_folder_is_named_from_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(load("quickstart").path.resolve().parents[1])
    assert load("quickstart").path == Path("scenarios/quickstart.toml")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_bytes(b'title = "\xff"')
    assert mistakes(tmp_path / "x.toml") == ["x.toml: expected UTF-8 text; byte 9 is not"]
    (tmp_path / "dir.toml").mkdir()
    assert mistakes(tmp_path / "dir.toml") == ["dir.toml: cannot be read: Is a directory"]


def test_overrides_are_in_the_scenario_and_in_its_text(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    loaded = load(path, ["fleet.core2.devices=2000", "fleet.core2.tls=1.3"], seed=9, broker="a.example:1")
    assert loaded.scenario.fleets["core2"].devices == 2000
    assert loaded.scenario.seed == 9
    assert loaded.scenario.broker.kind is BrokerKind.EXTERNAL
    assert load(write(tmp_path, loaded.text)).scenario == loaded.scenario
    assert path.read_text(encoding="utf-8") == loaded.text != GOOD


def test_a_wrong_override_is_named_as_it_was_given(tmp_path: Path) -> None:
    sentences = mistakes(
        write(tmp_path, GOOD.replace("qos = 1", "qos = 3")),
        "fleet.core2.devces=3",
        "fleet.core2.telemetry.every=1 sec",
        "broker.port=abc",
        "fleet.core2.will={ topc = 'a' }",
        "what",
        "fleet.core.devices=1",
        seed=-1,
    )
    assert sentences == [
        "--set what: expected a key and a value, such as fleet.core2.devices=2000",
        "--set fleet.core.devices=1: "
        'unknown fleet "core"; did you mean "core2"? This scenario has: core2, gateway',
        "--seed -1: expected 0 or more, not -1",
        '--set broker.port=abc: expected a whole number, not "abc"',
        "--set fleet.core2.will={ topc = 'a' }: fleet.core2.will.topc: unknown key; did you mean \"topic\"?",
        '--set fleet.core2.telemetry.every=1 sec: expected a duration such as "15s" or "250ms", not "1 sec"; '
        'did you mean "1s"?',
        '--set fleet.core2.devces=3: unknown key; did you mean "devices"?',
        "x.toml:12: fleet.core2.telemetry.qos: expected 0, 1 or 2, not 3",
    ]


def test_a_wrong_broker_option_is_named_as_it_was_given(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    assert mistakes(path, broker="a b:1") == [
        '--broker a b:1: broker.endpoints[0]: expected an endpoint such as "broker.example:8883" or '
        '"[::1]:8883", not "a b:1"'
    ]
    assert mistakes(path, broker="hivemq") == [
        '--broker hivemq: expected "embedded", "mosquitto" or an endpoint such as "host:8883"'
    ]


ODD = st.sampled_from(
    ["", "x", "1s", "100/s", "core2", 0, -1, 1, 1.5, True, [], {}, [1], ["x"], [{}], {"x": 1}, {"size": {}}]
)


def places(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    found = [path] if path else []
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        found += places(inner, (*path, key))
    return found


EVERYTHING = tomllib.loads(
    GOOD.replace('"mosquitto"', '"external"\nendpoints = ["a"]\ntrust = ["a"]\nserver_name = "a"')
    .replace('tls = "any"', 'will = { topic = "a", payload = "", qos = 0, retain = true }\nalpn = ["a"]')
    .replace('payload = "core2"', "payload = { size = 256 }\njitter = 0.1\nretain = true")
    .replace("[thresholds]", '[limits]\nlag = "1s"\nconnecting = 5\n[thresholds]')
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(st.sampled_from(places(EVERYTHING)), ODD, max_size=4), st.sampled_from(["", "odd key"])
)
def test_whatever_is_wrong_is_said_in_our_words(
    tmp_path: Path, swaps: dict[tuple[str | int, ...], object], extra: str
) -> None:
    document = copy.deepcopy(EVERYTHING)
    for path, value in sorted(swaps.items(), key=lambda swap: -len(swap[0])):
        node: Any = document
        for key in path[:-1]:
            node = node[key]
        node[path[-1]] = value
    if extra:
        document["stage"] = [*document["stage"], {extra: 1}] if isinstance(document["stage"], list) else 1
    sentences: tuple[str, ...] = ()
    path_ = write(tmp_path, tomlkit.dumps(document))
    try:
        load(path_)
    except ScenarioError as error:
        sentences = error.problems
    for sentence in sentences:
        assert sentence.startswith(f"{path_}:")
        assert not any(
            word in sentence for word in ("Input", "input", "Value error", "alid ", "[key]", "fleets")
        )


def test_a_path_on_the_command_line_starts_from_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = load("quickstart", overrides=["fleet.core2.store=mine.fleet"])
    assert store.resolve(store.scenario.fleets["core2"].store or "") == tmp_path / "mine.fleet"
    external = load("quickstart", overrides=['broker.trust=["ca.pem"]'], broker="127.0.0.1:8883")
    assert external.resolve(external.scenario.broker.trust[0]) == tmp_path / "ca.pem"


def test_a_path_in_a_file_starts_from_its_folder(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    text = shipped()[0].path.with_name("quickstart.toml").read_text(encoding="utf-8")
    file.write_text(text.replace("devices = 500", 'devices = 500\nstore = "mine.fleet"'), encoding="utf-8")
    loaded = load(file)
    assert loaded.resolve(loaded.scenario.fleets["core2"].store or "") == tmp_path / "mine.fleet"


def test_the_changes_are_kept_as_they_were_given_but_for_passwords(tmp_path: Path) -> None:
    assert load(write(tmp_path, GOOD)).changes == ()
    options = ["fleet.core2.devices=7", "fleet.core2.username=u", "fleet.core2.password=hunter2"]
    inside = 'fleet.core2.will={ topic = "password", payload = "hunter2" }'
    loaded = load(write(tmp_path, GOOD), overrides=[*options, inside], seed=3, broker="embedded")
    assert loaded.changes == (
        "--broker embedded",
        "--seed 3",
        "--set fleet.core2.devices=7",
        "--set fleet.core2.username=u",
        "--set fleet.core2.password=…",
        "--set fleet.core2.will=…",
    )


def test_a_password_on_the_command_line_is_not_said_again() -> None:
    with pytest.raises(ScenarioError) as refused:
        load("quickstart", overrides=["fleet.core2.password=hunter2"])
    assert "hunter2" not in str(refused.value)
    assert "--set fleet.core2.password=…" in str(refused.value)
