"""A broker that stands still for half a second shows in response times, and only where it was felt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from simulator.clock import MICROSECOND, MILLISECOND, SECOND
from simulator.metrics.sample import Kind, Phase
from tests.support.faulty_plan import Freeze
from tests.truth.idle import while_it_has_time
from tests.truth.rig import scenario
from tests.truth.truth import ON_ANY_MACHINE, STATS, Series, bounds, felt, figure, served_publishes

if TYPE_CHECKING:
    from tests.support.faulty_journal import Note
    from tests.support.waits import Waits
    from tests.truth.rig import Measured, Rig
    from tests.truth.truth import Span

RESPONSE, SERVICE = Series(Phase.PUBLISH, Kind.RESPONSE), Series(Phase.PUBLISH, Kind.SERVICE)
DEVICES, RATE = 20, 200


async def publish(rig: Rig, seconds: int, *, freeze: bool) -> tuple[Measured, list[Note]]:
    """Publish so long; the freeze, where there is one, comes after 0.4 s of it."""

    def schedule(start: int) -> None:
        if freeze:
            rig.broker.tell(Freeze(at=start + SECOND, ms=500))

    plan = scenario(
        DEVICES,
        {"connect": {"rate": "50/s"}, "duration": "600ms"},
        {"duration": f"{seconds}s", "publish": {"rate": f"{RATE}/s"}},
    )
    return await rig.run(plan, [rig.broker.listen()], at_start=schedule), rig.broker.record()


@pytest.mark.timekeeping
@pytest.mark.usefixtures("first_in_line")
async def test_a_freeze_moves_the_response_times_and_not_the_median_of_the_service_times(rig: Rig) -> None:
    (calm, calm_notes), calm_waits = await while_it_has_time(lambda: publish(rig, 1, freeze=False))
    (frozen, notes), waits = await while_it_has_time(lambda: publish(rig, 2, freeze=True))
    assert calm.failures == frozen.failures == []
    assert (calm.ok(Phase.PUBLISH), frozen.ok(Phase.PUBLISH)) == (RATE, 2 * RATE)
    (stop,) = (note for note in notes if note.event == "frozen")
    length = stop.said - stop.heard
    assert length >= 500 * MILLISECOND
    before, after = responses(calm, calm_notes, calm_waits), responses(frozen, notes, waits)
    assert figure(calm, RESPONSE, "p99") < 0.2 * length / MICROSECOND
    assert figure(frozen, RESPONSE, "p99") > 0.9 * length / MICROSECOND
    assert figure(frozen, SERVICE, "p50") == pytest.approx(figure(calm, SERVICE, "p50"), abs=1_000)
    hit = [span for span in after if span.least > 50 * MILLISECOND]
    assert len(hit) >= (length / SECOND - 0.05) * RATE - 4
    for measured, true in ((calm, before), (frozen, after)):
        for name, percent in STATS.items():
            least, most = bounds(true, percent)
            assert ON_ANY_MACHINE.within(figure(measured, RESPONSE, name), least, most), name


def responses(measured: Measured, notes: list[Note], waits: Waits) -> list[Span]:
    """Return by the broker's clock how long after it was due each message was answered."""
    spans = felt(measured, served_publishes(notes), waits)
    assert len(spans) == measured.ok(Phase.PUBLISH)
    return spans
