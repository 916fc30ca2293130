from __future__ import annotations

import json

import pytest

from simulator.metrics.sample import CONNECT_STEPS, Failure, Phase

FAILURE = Failure(
    at=4_000_000_000,
    fleet="core2",
    device="00042",
    stage="ramp",
    phase=Phase.TLS_HANDSHAKE,
    outcome="unknown_ca",
    detail="the broker sent the alert unknown_ca",
    due=1_000_000_000,
    started=1_000_500_000,
    finished=4_000_000_000,
)


def test_a_failure_is_one_line_of_json_with_the_fields_by_name() -> None:
    line = FAILURE.to_json()
    assert "\n" not in line
    assert json.loads(line) == FAILURE._asdict()


def test_a_failure_reads_back_as_it_was() -> None:
    read = Failure.from_json(FAILURE._replace(detail='quoted "ä"\nnext').to_json())
    assert read == FAILURE._replace(detail='quoted "ä"\nnext')
    assert isinstance(read.phase, Phase)


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("{", id="torn"),
        pytest.param("[]", id="no object"),
        pytest.param('{"at": 1}', id="fields missing"),
        pytest.param(FAILURE.to_json().replace("tls_handshake", "tea"), id="no phase"),
    ],
)
def test_anything_else_is_a_value_error(line: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Failure.from_json(line)


def test_phases_come_in_the_order_of_a_devices_life() -> None:
    order = list(Phase)
    assert order.index(Phase.TCP_CONNECT) < order.index(Phase.TLS_HANDSHAKE) < order.index(Phase.MQTT_CONNECT)
    assert max(order.index(step) for step in CONNECT_STEPS) < order.index(Phase.CONNECT)
