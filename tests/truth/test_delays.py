"""Delays that the broker makes, and records, come back as the product's figures.

That is within 1 ms or 2 % on a machine that has nothing else to do (``make truth``). On any other, what the
kernel says that it kept the product waiting is allowed for, and a little more (``make test``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from simulator.clock import MILLISECOND
from simulator.metrics.sample import Kind, Phase
from simulator.scenario.kinds import TlsVersion
from tests.support.faulty_plan import Delay, Door, Plan, Shape, Step, Uncrowd
from tests.truth.idle import on_an_idle_machine, while_it_has_time
from tests.truth.rig import scenario
from tests.truth.truth import (
    ON_AN_IDLE_MACHINE,
    ON_ANY_MACHINE,
    STATS,
    Series,
    bounds,
    by_connection,
    errors,
    figure,
    floor_of,
    rank,
    truth_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.faulty_journal import Note
    from tests.truth.rig import Measured, Rig
    from tests.truth.truth import Floor, Truth

pytestmark = [pytest.mark.usefixtures("first_in_line"), pytest.mark.timekeeping]

SAMPLES = 100
RUNS = 5
"""Runs in one of which a figure has to be true, if it was not in the first: what else the machine does only
ever adds to a latency, and not to every run alike. An error of the measuring would be in all of them."""

SLOW = (Step.HELLO, Step.CONNECT, Step.SUBSCRIBE, Step.PUBLISH)
SMALL = 500
"""Microseconds that the kernel may take from one process to another and back."""
FLOORS: dict[TlsVersion, Floor] = {}

known = pytest.mark.parametrize(
    ("delay", "tls", "rate"),
    [
        pytest.param(Delay(Shape.CONSTANT, (24,)), TlsVersion.V13, 50, id="constant"),
        pytest.param(Delay(Shape.UNIFORM, (20, 120)), TlsVersion.V12, 75, id="uniform"),
        pytest.param(Delay(Shape.EXPONENTIAL, (40,)), TlsVersion.V13, 75, id="exponential"),
        pytest.param(Delay(Shape.LIST, (300, *[4] * 19)), TlsVersion.V12, 50, id="one in twenty"),
    ],
)
"""The constant delay is such that no answer comes while another device is shaking hands, nor at a full
second, when the shard takes its snapshot; nor do most with one delay in twenty. With the others, answers do,
and wait until that device is done: a millisecond and a half."""


async def measure(
    rig: Rig, delay: Delay | None, tls: TlsVersion, *, devices: int = SAMPLES, rate: int = 75
) -> tuple[Measured, list[Note]]:
    """Connect one device after the other, then let each publish once."""
    plan = scenario(
        devices,
        {"connect": {"rate": f"{rate}/s"}},
        {"duration": "400ms"},
        {"duration": f"{5 * devices // 2}ms", "publish": {"rate": "400/s"}},
        tls=tls,
        mqtt="5.0" if tls is TlsVersion.V13 else "3.1.1",
        subscribe=[{"topic": "c/{device}", "qos": 1}],
    )
    port = rig.broker.listen(Plan(delays=dict.fromkeys(SLOW, delay) if delay else {}))
    measured = await rig.run(plan, [port])
    return measured, rig.broker.record()


def complete(measured: Measured, truth: Truth, devices: int) -> Truth:
    """Return the truth of a run in which every device did everything."""
    assert measured.failures == []
    for series, samples in truth.items():
        assert len(samples) == measured.ok(series.phase) == devices, series
    return truth


async def floor(rig: Rig, tls: TlsVersion) -> Floor:
    """Measure once a session what the machine itself takes."""
    if tls not in FLOORS:
        (measured, notes), waits = await while_it_has_time(lambda: measure(rig, None, tls, devices=60))
        ground = floor_of(measured, complete(measured, truth_of(measured, notes, tls, waits), 60))
        assert {series: floor for series, floor in ground.items() if not is_small(series, floor)} == {}
        FLOORS[tls] = ground
    return FLOORS[tls]


def is_small(series: Series, floor: tuple[float, float]) -> bool:
    """Tell whether no more than the way through the kernel is taken for the machine's part.

    Else an error that all figures have alike would pass for it. In a handshake the client works itself.
    """
    least, most = floor
    return series.phase is Phase.TLS_HANDSHAKE or (least < SMALL and most > -SMALL)


def made_and_told(notes: Sequence[Note], delay: Delay) -> dict[str, tuple[float, float]]:
    """Return how long the broker waited for CONNACK, and was told to wait: microseconds, by percentile."""
    waits = [note.said - note.heard for note in by_connection(notes, Step.CONNECT).values()]
    told = [delay.draw(f"1/0/{Step.CONNECT}", number) for number in range(len(waits))]
    return {name: (rank(waits, percent), rank(told, percent)) for name, percent in STATS.items()}


@known
async def test_known_delays_come_back(rig: Rig, delay: Delay, tls: TlsVersion, rate: int) -> None:
    """Each figure is that of the delays as the broker made them, but for what the machine kept from us."""
    ground = await floor(rig, tls)
    (measured, notes), waits = await while_it_has_time(lambda: measure(rig, delay, tls, rate=rate))
    assert all(made >= told for made, told in made_and_told(notes, delay).values())
    truth = complete(measured, truth_of(measured, notes, tls, waits), SAMPLES)
    assert errors(measured, truth, ground, ON_ANY_MACHINE) == {}


@known
@on_an_idle_machine
async def test_known_delays_come_back_with_nothing_allowed_to_the_machine(
    rig: Rig, delay: Delay, tls: TlsVersion, rate: int, *, first_in_line: bool
) -> None:
    ground = await floor(rig, tls)
    runs: list[dict[str, str]] = []
    while len(runs) < RUNS and (not runs or never_true(runs)):
        measured, notes = await measure(rig, delay, tls, devices=2 * SAMPLES, rate=rate)
        truth = complete(measured, truth_of(measured, notes, tls), 2 * SAMPLES)
        runs.append(broken_promises(notes, delay) | errors(measured, truth, ground))
    unkept = all(any(name.startswith("broker.") for name in wrong) for wrong in runs)
    if never_true(runs) and (unkept or not first_in_line):
        pytest.skip(f"this machine had more urgent work than to keep time: {runs[-1]}")
    assert never_true(runs) == set(), runs


def broken_promises(notes: Sequence[Note], delay: Delay) -> dict[str, str]:
    """Return where the broker itself did not wait as it was told to, within 1 ms."""
    return {
        f"broker.{name}": f"{made:.0f}, and told {told:.0f}"
        for name, (made, told) in made_and_told(notes, delay).items()
        if abs(made - told) > ON_AN_IDLE_MACHINE.absolute
    }


def never_true(runs: list[dict[str, str]]) -> set[str]:
    return set.intersection(*(set(wrong) for wrong in runs))


async def test_a_syn_that_is_lost_shows_in_tcp_alone(rig: Rig) -> None:
    """The accept queue is full for the first 0.6 s: whoever comes meanwhile is heard a second after that."""
    plan = scenario(80, {"connect": {"rate": "80/s"}, "duration": "1700ms"})

    async def run() -> tuple[Measured, list[Note]]:
        port = rig.broker.listen(door=Door.CROWDED)

        def uncrowd(start: int) -> None:
            rig.broker.tell(Uncrowd(name=port.name, at=start + 600 * MILLISECOND))

        return await rig.run(plan, [port], at_start=uncrowd), rig.broker.record()

    (measured, notes), waits = await while_it_has_time(run)
    truth = truth_of(measured, notes, TlsVersion.ANY, waits)
    assert measured.failures == []
    tcp = Series(Phase.TCP_CONNECT, Kind.RESPONSE)
    for name, percent in STATS.items():
        least, most = bounds(truth[tcp], percent)
        assert most > 1_000_000
        assert least * 0.98 <= figure(measured, tcp, name) <= most * 1.02
        assert figure(measured, Series(Phase.TLS_HANDSHAKE, Kind.RESPONSE), name) < 500_000
    assert figure(measured, Series(Phase.CONNECT, Kind.SERVICE), "p50") > 1_000_000


async def test_an_accept_that_is_late_shows_in_tls_alone(rig: Rig) -> None:
    """The kernel connects at once; the ClientHello waits to be read."""
    plan = scenario(40, {"connect": {"rate": "75/s"}, "duration": "800ms"}, tls="1.3")

    async def run() -> tuple[Measured, list[Note]]:
        port = rig.broker.listen(Plan(delays={Step.ACCEPT: Delay(Shape.UNIFORM, (60, 90))}))
        return await rig.run(plan, [port]), rig.broker.record()

    (measured, notes), waits = await while_it_has_time(run)
    truth = truth_of(measured, notes, TlsVersion.V13, waits)
    assert measured.failures == []
    tls = Series(Phase.TLS_HANDSHAKE, Kind.SERVICE)
    least, most = bounds(truth[tls], 50)
    assert least > 60_000
    assert least <= figure(measured, tls, "p50") <= most + 4_000
    assert figure(measured, Series(Phase.TCP_CONNECT, Kind.SERVICE), "max") < 30_000
    assert figure(measured, Series(Phase.MQTT_CONNECT, Kind.SERVICE), "p50") < 30_000
