"""Under every fault the run ends on time, the failures have their names, and nobody else is disturbed.

Half of a fleet goes to an endpoint that does wrong, and half to one of the same broker that does not.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from simulator.clock import MILLISECOND, SECOND
from simulator.devices.assignment import endpoint_of
from simulator.metrics.outcome import Outcome
from simulator.metrics.sample import Phase
from simulator.metrics.snapshot import ArrivalOf
from tests.support.faulty_plan import Fault, Plan, Step, Then
from tests.truth.faults import OPENING, SESSIONS, TCP_AND_TLS, Case
from tests.truth.rig import name_of, scenario

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulator.scenario.kinds import TlsVersion
    from tests.support.faulty_journal import Note
    from tests.support.faulty_process import Port
    from tests.truth.rig import Measured, Rig

pytestmark = pytest.mark.usefixtures("first_in_line")

MESSAGES = 2
"""Of each device."""


def timed(devices: int) -> list[dict[str, Any]]:
    """Connect all, and let each publish twice."""
    return [
        {"connect": {"rate": "250/s"}, "duration": f"{4 * devices + 90}ms"},
        {"duration": "100ms", "publish": {"rate": f"{10 * MESSAGES * devices}/s"}},
    ]


def expected(case: Case, faulty: int) -> Counter[tuple[Phase, str]]:
    return Counter(
        failure for number in range(faulty) for failure in case.failures[number % len(case.failures)]
    )


def seen(measured: Measured) -> Counter[tuple[Phase, str]]:
    return Counter((failure.phase, failure.outcome) for failure in measured.failures)


def healthy_are_whole(measured: Measured, notes: Sequence[Note], port: Port, healthy: int) -> None:
    """Hold what the good endpoint has seen against what was due there: nothing more, nothing less."""
    here = [note for note in notes if note.listener == port.name]
    answered = [note for note in here if note.event == "answered"]
    names = [name_of(index) for index in range(2 * healthy) if endpoint_of(index, 2) == 0]
    for step, number in ((Step.CONNECT, 1), (Step.PUBLISH, MESSAGES)):
        assert Counter(note.client for note in answered if note.step is step) == dict.fromkeys(names, number)
    ends = Counter(note.how for note in here if note.event == "ended")
    assert ends == {"peer: close_notify": healthy}
    assert {failure.device for failure in measured.failures}.isdisjoint(names)


def ends_on_time(measured: Measured) -> None:
    """Within the drain, which is a second here, and a little."""
    assert -50 * MILLISECOND < measured.overtime < 1.2 * SECOND


async def hold(rig: Rig, case: Case, tls: TlsVersion) -> None:
    faulty = max(6, len(case.plans))
    port = rig.broker.listen()
    bad = rig.broker.listen(*case.plans, door=case.door)
    plan = scenario(2 * faulty, *timed(2 * faulty), tls=tls, **case.fleet)
    measured = await rig.run(plan, [port, bad])
    notes = rig.broker.record()
    assert seen(measured) == expected(case, faulty)
    ends_on_time(measured)
    healthy_are_whole(measured, notes, port, faulty)
    accounted_for(measured, case, faulty)


def accounted_for(measured: Measured, case: Case, faulty: int) -> None:
    """Every step that became due is in the figures once."""
    totals = measured.totals
    connects = totals.arrivals(of=ArrivalOf.CONNECT)
    assert (connects.due, connects.started, connects.dropped) == (2 * faulty, 2 * faulty, 0)
    assert totals.outcomes(phase=Phase.CONNECT).total() == 2 * faulty
    messages = totals.arrivals(of=ArrivalOf.MESSAGE)
    assert messages.due == 2 * faulty * MESSAGES == messages.started + messages.offline
    assert messages.started == totals.outcomes(phase=Phase.PUBLISH).total()
    assert measured.ok(Phase.PUBLISH) == faulty * (MESSAGES + case.served)
    assert totals.failures() == len(measured.failures)


def by_name(value: object) -> str:
    return value.name if isinstance(value, Case) else str(value)


@pytest.mark.parametrize(
    ("case", "tls"),
    [(case, version) for case in (*TCP_AND_TLS, *OPENING, *SESSIONS) for version in case.versions],
    ids=by_name,
)
async def test_a_fault_has_its_name_and_disturbs_nobody_else(rig: Rig, case: Case, tls: TlsVersion) -> None:
    await hold(rig, case, tls)


async def test_a_broker_that_answers_no_ping_is_left(rig: Rig) -> None:
    good, bad = rig.broker.listen(), rig.broker.listen(Plan(fault=Fault(Step.PING, Then.SILENCE)))
    plan = scenario(4, {"connect": {"rate": "200/s"}, "duration": "2700ms"}, keepalive="1s")
    measured = await rig.run(plan, [good, bad])
    notes = rig.broker.record()
    ends_on_time(measured)
    assert seen(measured) == {(Phase.SESSION, Outcome.KEEPALIVE_TIMEOUT): 2}
    pings = Counter(note.client for note in notes if (note.event, note.step) == ("answered", Step.PING))
    assert set(pings) == {name_of(0), name_of(2)}
    assert min(pings.values()) >= 3


async def test_devices_that_are_kicked_come_back(rig: Rig) -> None:
    kick = Plan(fault=Fault(Step.CONNECT, Then.CLOSE, answers=True, wait=300, say=b"\xe0\2\x8e\0"))
    port = rig.broker.listen(*[kick] * 12, *[Plan()] * 12)
    plan = scenario(
        12,
        {"connect": {"rate": "400/s"}, "duration": "800ms"},
        mqtt="5.0",
        reconnect={"first": "100ms", "most": "200ms"},
    )
    measured = await rig.run(plan, [port])
    ends_on_time(measured)
    assert seen(measured) == {(Phase.SESSION, Outcome.TAKEN_OVER): 12}
    assert measured.ok(Phase.CONNECT) == 24
    said = Counter(note.client for note in rig.broker.record() if note.event == "disconnect")
    assert said == {name_of(number): 1 for number in range(12)}  # each at the end of its second session
