"""A broker that stands still for half a second shows in response times, and only where it was felt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from simulator.clock import MILLISECOND, SECOND
from simulator.metrics.sample import Kind, Phase
from tests.support.faulty_plan import Freeze
from tests.truth.idle import on_an_idle_machine
from tests.truth.rig import scenario
from tests.truth.truth import STATS, Series, figure, rank, served_publishes

if TYPE_CHECKING:
    from tests.support.faulty_journal import Note
    from tests.truth.rig import Measured, Rig

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
    measured = await rig.run(plan, [rig.broker.listen()], at_start=schedule)
    assert measured.failures == []
    assert measured.ok(Phase.PUBLISH) == RATE * seconds
    return measured, rig.broker.record()


@on_an_idle_machine
@pytest.mark.usefixtures("first_in_line")
async def test_a_freeze_moves_the_response_times_and_not_the_median_of_the_service_times(rig: Rig) -> None:
    calm, _ = await publish(rig, 1, freeze=False)
    frozen, notes = await publish(rig, 2, freeze=True)
    (stop,) = (note for note in notes if note.event == "frozen")
    length = (stop.said - stop.heard) / 1000
    assert length == pytest.approx(500_000, abs=5_000)
    assert figure(calm, RESPONSE, "p99") < 20_000
    assert figure(frozen, RESPONSE, "p99") > 0.9 * length
    assert figure(frozen, SERVICE, "p50") == pytest.approx(figure(calm, SERVICE, "p50"), abs=1_000)
    # By the broker's clock: from when each message says that it was due to when its answer left.
    waits = [note.said - (note.due - frozen.wall_offset) for note in served_publishes(notes)]
    assert len(waits) == 2 * RATE
    felt = [wait for wait in waits if wait > 50 * MILLISECOND]
    assert len(felt) == pytest.approx(0.45 * RATE, abs=4)
    for name, percent in STATS.items():
        assert figure(frozen, RESPONSE, name) == pytest.approx(rank(waits, percent), rel=0.02, abs=1_000)
