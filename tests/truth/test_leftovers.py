"""With every sort of fault at once, over and over: the others are served, and nothing piles up."""

from __future__ import annotations

import gc
from collections import Counter
from typing import TYPE_CHECKING

import psutil
import pytest

from simulator.devices.assignment import endpoint_of
from simulator.timetable import Verb
from tests.support.faulty_plan import Certificates, Door, Fault, Plan, Step, Then
from tests.truth.rig import name_of, scenario

if TYPE_CHECKING:
    from tests.truth.rig import Measured, Rig

PLANS = (
    Plan(fault=Fault(Step.ACCEPT, Then.RESET)),
    Plan(fault=Fault(Step.HELLO, Then.SILENCE)),
    Plan(fault=Fault(Step.HELLO, Then.HALF_CLOSE, raw=b"SSH-2.0-OpenSSH_9.2\r\n")),
    Plan(trickle={Step.HELLO: 1}),
    Plan(certificates=Certificates.REFUSE),
    Plan(fault=Fault(Step.CONNECT, Then.CLOSE_NOTIFY, answers=True, wait=20)),
    Plan(fault=Fault(Step.PUBLISH, Then.RESET)),
    Plan(fault=Fault(Step.PUBLISH, Then.SILENCE)),
)
DEVICES, ENDPOINTS = 110, len(PLANS) + 3
RUNS = 3
ROOM = 1 << 20
"""Bytes by which memory may differ; 43 KiB of each device of one run would be four times as much."""


async def storm(rig: Rig) -> Measured:
    """Let all sorts of trouble begin at once; devices look for a better endpoint each time they fail."""
    good = rig.broker.listen()
    doors = [rig.broker.listen(door=Door.CROWDED), rig.broker.listen(door=Door.SHUT)]
    ports = [good, *doors, *(rig.broker.listen(plan) for plan in PLANS)]
    plan = scenario(
        DEVICES,
        {"connect": {"rate": "400/s"}, "duration": "400ms"},
        {"duration": "400ms", "publish": {"rate": "550/s"}},
        connect_timeout="200ms",
        ack_timeout="200ms",
        reconnect={"first": "200ms", "most": "400ms"},
    )
    measured = await rig.run(plan, ports)
    notes = [note for note in rig.broker.record() if note.listener == good.name and note.client]
    fortunate = [name_of(index) for index in range(DEVICES) if endpoint_of(index, ENDPOINTS) == 0]
    assert {failure.device for failure in measured.failures}.isdisjoint(fortunate)
    served = Counter((note.client, note.step) for note in notes if note.event == "answered")
    due = messages_due(measured)
    for name in fortunate:
        assert served[name, Step.CONNECT] == 1
        assert served[name, Step.PUBLISH] == due[name] > 0
    return measured


def messages_due(measured: Measured) -> Counter[str]:
    actions = (action for stage in measured.stages for action in stage.actions)
    publishes = (action for action in actions if action.verb is Verb.PUBLISH)
    return Counter(name_of(call.device) for action in publishes for call in action)


def resident() -> int:
    gc.collect()
    return int(psutil.Process().memory_info().rss)


@pytest.mark.usefixtures("first_in_line")
async def test_memory_stays_where_it_was_however_many_attempts_fail(rig: Rig) -> None:
    await storm(rig)  # the first run loads and fills what stays for good
    before = resident()
    outcomes: Counter[str] = Counter()
    for _ in range(RUNS - 1):
        measured = await storm(rig)
        outcomes += Counter(failure.outcome for failure in measured.failures)
        del measured
    assert resident() - before < ROOM
    assert outcomes.total() > 2 * (DEVICES - DEVICES // ENDPOINTS)
    assert {"refused", "reset", "timeout", "tls_error", "unknown_ca", "closed", "ack_timeout"} <= set(
        outcomes
    )
