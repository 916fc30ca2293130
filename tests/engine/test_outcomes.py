"""Everything that a broker can say against a device, by its own name in the failures and in the report."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from simulator.engine.coordinator import Coordinator
from simulator.identity import pem
from simulator.identity.authority import Authority
from simulator.identity.store import FleetStore
from simulator.metrics.outcome import TLS_ALERTS, Outcome
from simulator.metrics.sample import Phase
from simulator.mqtt import codec5
from simulator.mqtt.packets import ConnAck, Disconnect, PubAck
from simulator.mqtt.reasons import Reason
from tests.engine.scenarios import small
from tests.engine.watching import Witness
from tests.support.faulty_plan import Fault, Plan, Step, Then
from tests.support.faulty_process import FaultyBroker
from tests.truth.faults import DISCONNECTS, ESTABLISHED, REFUSALS_5, REFUSALS_311

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SCENARIO = """\
title = "Each device meets something else"
[broker]
kind = "external"
trust = ["ca.pem"]
[fleet.unit]
devices = {devices}
store = "unit.fleet"
mqtt = "{mqtt}"
keepalive = "1s"
ack_timeout = "300ms"
reconnect = {{ enabled = false }}
[fleet.unit.telemetry]
topic = "t/{{device}}"
every = "1h"
qos = 1
[[stage]]
name = "connect"
connect = {{ fleet = "unit", rate = "200/s" }}
[[stage]]
name = "wait"
duration = "200ms"
[[stage]]
name = "publish"
duration = "200ms"
publish = {{ fleet = "unit", rate = "{rate}/s" }}
[[stage]]
name = "silence"
duration = "2500ms"
"""

PUBLISH_REFUSALS = [*map(Reason, (0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99))]
"""MQTT 5.0, 3.4.2.1."""

Row = tuple[Phase, str, Fault]


def told(step: Step, said: bytes, **more: Any) -> Fault:
    return Fault(step, Then.HALF_CLOSE, say=said, **more)


def kicked(said: bytes) -> Fault:
    return told(Step.CONNECT, said, **ESTABLISHED)


EITHER: list[Row] = [
    *((Phase.TLS_HANDSHAKE, name, Fault(Step.HELLO, Then.HALF_CLOSE, raw=b"\x15\3\3\0\2\2" + bytes([code])))
      for code, name in TLS_ALERTS.items()),
    (Phase.TLS_HANDSHAKE, Outcome.TLS_ERROR, Fault(Step.HELLO, Then.HALF_CLOSE, raw=b"HTTP/1.1 400\r\n\r\n")),
    (Phase.TLS_HANDSHAKE, Outcome.RESET, Fault(Step.HELLO, Then.RESET)),
    (Phase.MQTT_CONNECT, Outcome.PROTOCOL_ERROR, told(Step.CONNECT, b"\xd0\0")),
    (Phase.SESSION, Outcome.PROTOCOL_ERROR, kicked(b"\x30\3\0\1#")),
    (Phase.SESSION, Outcome.CLOSED, Fault(Step.CONNECT, Then.CLOSE_NOTIFY, **ESTABLISHED)),
    (Phase.SESSION, Outcome.KEEPALIVE_TIMEOUT, Fault(Step.PING, Then.SILENCE)),
    (Phase.PUBLISH, Outcome.ACK_TIMEOUT, Fault(Step.PUBLISH, Then.STAY)),
]  # fmt: skip
V311: list[Row] = [
    (Phase.MQTT_CONNECT, name, told(Step.CONNECT, bytes((0x20, 2, 0, code))))
    for code, name in REFUSALS_311.items()
]
V5: list[Row] = [
    *((Phase.MQTT_CONNECT, code.name.lower(), told(Step.CONNECT, codec5.write(ConnAck(code=code))))
      for code in REFUSALS_5),
    *((Phase.SESSION, code.name.lower(), kicked(codec5.write(Disconnect(code)))) for code in DISCONNECTS),
    (Phase.SESSION, "normal_disconnection", kicked(codec5.write(Disconnect()))),
    *((Phase.PUBLISH, code.name.lower(), Fault(Step.PUBLISH, say=codec5.write(PubAck(1, code))))
      for code in PUBLISH_REFUSALS),
]  # fmt: skip


class Field(NamedTuple):
    """The faulty broker, its root, and the authority of those whom it trusts."""

    broker: FaultyBroker
    root: bytes
    fleet: Authority


@pytest.fixture(scope="module")
def field() -> Iterator[Field]:
    fleet, brokers = Authority.create("Fleet"), Authority.create("Broker")
    server = brokers.issue_server(["127.0.0.1"])
    with FaultyBroker(server, trust=fleet.root, stranger=brokers.root) as broker:
        yield Field(broker, brokers.root, fleet)


@pytest.mark.parametrize(
    ("mqtt", "rows"), [("3.1.1", EITHER + V311), ("5.0", EITHER + V5)], ids=["3.1.1", "5.0"]
)
async def test_each_fault_has_its_own_name_in_failures_and_report(
    field: Field, tmp_path: Path, mqtt: str, rows: list[Row]
) -> None:
    looked_at = Plan()  # before the run, to learn whether somebody is there
    port = field.broker.listen(looked_at, *(Plan(fault=fault) for _, _, fault in rows))
    (tmp_path / "ca.pem").write_text(pem.certificates([field.root]))
    with FleetStore.create(tmp_path / "unit.fleet", field.fleet) as store:
        store.issue(len(rows))
    text = SCENARIO.format(devices=len(rows), mqtt=mqtt, rate=5 * len(rows))
    loaded = small(tmp_path, text=text, broker=str(port.endpoint))
    with Coordinator(loaded, tmp_path / "run", Witness()) as coordinator:
        report = await coordinator.run()
    field.broker.record()
    expected = Counter((phase, name) for phase, name, _ in rows)
    lines = [json.loads(line) for line in (tmp_path / "run" / "failures.jsonl").read_text().splitlines()]
    assert Counter((line["phase"], line["outcome"]) for line in lines) == expected
    assert {(each.phase, each.outcome): each.count for each in report.failures} == expected
    details = {line["detail"] for line in lines}
    assert "" not in details
    assert "a packet came before CONNACK [MQTT-3.2.0-1]" in details
    assert "the topic '#' contains a wildcard [MQTT-3.3.2-2]" in details
