"""Readers against the payload models: whatever a model writes, its reader reads."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from simulator.devices.reading import Reading, reader_of
from simulator.devices.telemetry import payload_of
from simulator.errors import FleetError
from simulator.identity.naming import check_name
from simulator.scenario.model import Telemetry

DUE = 1_767_225_600_000_000_000
PAYLOADS = [
    "core2",
    {"size": 256},
    {"template": "{device} {counter} {due}"},
    {"template": '{"id":"{device}","again":"{device}","c":[{counter}],"at":{due},"of":"{fleet}"}'},
    {"template": "{due}{counter};{device}"},
    {"template": "({counter}){device}{due}.*"},
    {"template": "{fleet}{counter}\n{device}\n{due}"},
]


def telemetry(payload: object) -> Telemetry:
    return Telemetry.model_validate({"topic": "t/{device}", "every": "1s", "payload": payload})


@st.composite
def names(draw: st.DrawFn) -> str:
    name = draw(st.text(min_size=1, max_size=64))
    try:
        return check_name(name)
    except FleetError:
        assume(False)
        raise


@pytest.mark.parametrize("payload", PAYLOADS, ids=str)
@given(
    device=st.one_of(st.just("core2-00001"), names()),
    counter=st.integers(1, 10**7),
    due=st.integers(10**18, 10**19 - 1),
)
def test_whatever_a_model_writes_its_reader_reads(
    payload: object, device: str, counter: int, due: int
) -> None:
    assume("{" not in device)
    settings = telemetry(payload)
    written = payload_of(settings, "core2")(device, 7, counter, due)
    assert reader_of(settings, "core2")(written) == Reading(device, counter, due)


ENDLESS = b"1" * 5_000
"""More digits than Python turns into a number."""
STRANGE = [
    b"",
    b"{}",
    b"\xff\xfe",
    b'{"device":"a","n":x,"due":1,',
    b'{"device":"\xff","n":1,"due":1,',
    b'{"device":"a","n":%b,"due":1,' % ENDLESS,
    b'{"device":"a","n":1,"due":%b,' % ENDLESS,
    b"\xff 1 %d" % DUE,
    b"a %b %d" % (ENDLESS, DUE),
    b"%d%b;a" % (DUE, ENDLESS),
    b"%d1;\xff" % DUE,
]


@pytest.mark.parametrize("payload", PAYLOADS, ids=str)
@pytest.mark.parametrize("strange", STRANGE, ids=lambda strange: strange[:24])
def test_anything_else_is_nothing(payload: object, strange: bytes) -> None:
    assert reader_of(telemetry(payload), "core2")(strange) is None


def test_another_fleets_template_is_nothing() -> None:
    settings = telemetry({"template": "{fleet} {device} {counter} {due}"})
    written = payload_of(settings, "core2")("a", 7, 1, DUE)
    assert reader_of(settings, "gateway")(written) is None
