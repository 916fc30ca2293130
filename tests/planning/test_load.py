from __future__ import annotations

from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from simulator.clock import SECOND
from simulator.planning.load import back_off, count, pings
from simulator.planning.work import Kind, Work
from simulator.scenario.model import Fleet, Scenario

if TYPE_CHECKING:
    from simulator.planning.load import Load


def load(*stages: dict[str, Any], **fleet: Any) -> Load:
    """Return the load of one fleet of a hundred devices, f."""
    named = [{"name": str(number), **stage} for number, stage in enumerate(stages)]
    document = {"title": "t", "fleet": {"f": {"devices": 100, **fleet}}, "stage": named}
    return count(Scenario.model_validate(document))


CONNECT = {"connect": {"fleet": "f", "rate": "50/s"}, "duration": "2s"}
TELEMETRY = {"topic": "{device}", "every": "500ms"}


def test_connects_are_counted_in_the_second_that_they_are_due_in() -> None:
    counted = load(CONNECT, {"duration": "2s"})
    assert counted.work[Work(Kind.CONNECT, "f")] == (50, 50, 0, 0)
    assert (counted.seconds, counted.devices, counted.connected) == pytest.approx((4, 100, 100))
    assert (counted.total(Kind.CONNECT, Kind.RECONNECT), counted.peak(Kind.CONNECT)) == (100, 50)
    assert [counted.stage_of(second) for second in range(4)] == ["0", "0", "1", "1"]
    assert counted.leaving == {"f": pytest.approx(100)}


def test_who_is_connected_reports() -> None:
    counted = load(CONNECT, {"duration": "2s"}, telemetry=TELEMETRY)
    messages = counted.work[Work(Kind.MESSAGE, "f")]
    assert messages == pytest.approx((51, 151, 200, 200))  # on average 25.5 devices in the first second
    tends = counted.work[Work(Kind.TEND, "f")]
    assert tends[-1] == pytest.approx(100 / 5)  # twice in ten seconds


def test_a_second_that_is_cut_short_has_less_in_it() -> None:
    counted = load(CONNECT, {"duration": "1500ms"}, telemetry=TELEMETRY)
    assert counted.work[Work(Kind.MESSAGE, "f")][-1] == pytest.approx(100)


def test_messages_of_a_stage_follow_its_rate() -> None:
    ramp = {"fleet": "f", "rate": "40/s", "arrivals": "ramp", "from": "0/s"}
    counted = load(CONNECT, {"publish": ramp, "duration": "4s"}, telemetry={**TELEMETRY, "every": "1h"})
    assert counted.work[Work(Kind.MESSAGE, "f")][2:] == pytest.approx((5, 15, 25, 35), abs=0.1)


def test_a_reconnect_is_counted_and_takes_nobody_away() -> None:
    counted = load(CONNECT, {"reconnect": {"fleet": "f", "share": 0.5, "within": "1s"}, "duration": "1s"})
    assert counted.work[Work(Kind.RECONNECT, "f")] == (0, 0, 50)
    assert counted.ports == pytest.approx(150)  # 50 of which rest


def test_who_disconnects_is_silent_from_then_on() -> None:
    leave = {"disconnect": {"fleet": "f", "share": 0.5, "within": "1s"}, "duration": "2s"}
    counted = load(CONNECT, leave, telemetry=TELEMETRY)
    assert counted.total(Kind.FAREWELL) == 50
    assert counted.work[Work(Kind.MESSAGE, "f")][-1] == pytest.approx(100)
    assert counted.leaving == {"f": pytest.approx(50)}


def test_an_outage_makes_everybody_fail_and_come_back() -> None:
    outage = {"duration": "20s", "outage": "4s"}
    counted = load(CONNECT, outage, telemetry=TELEMETRY, reconnect={"most": "2s"})
    assert counted.work[Work(Kind.CONNECT, "f")][2:6] == (0, 0, 0, 0)
    assert counted.total(Kind.CONNECT) == pytest.approx(200)
    assert 300 < counted.total(Kind.FAILURE) < 700  # the loss, and an attempt a second for four seconds
    assert counted.work[Work(Kind.MESSAGE, "f")][3] == pytest.approx(0)
    assert counted.work[Work(Kind.MESSAGE, "f")][-1] == pytest.approx(200)


def test_who_gives_up_does_not_come_back() -> None:
    counted = load(CONNECT, {"duration": "9s", "outage": "4s"}, reconnect={"enabled": False})
    assert (counted.total(Kind.CONNECT), counted.total(Kind.FAILURE)) == pytest.approx((100, 100))


def test_who_is_revoked_knocks_in_vain() -> None:
    once = load(CONNECT, {"duration": "20s"}, revoked=0.2, reconnect={"enabled": False})
    assert (once.total(Kind.CONNECT), once.connected) == pytest.approx((100, 80))
    again = load(CONNECT, {"duration": "20s"}, revoked=0.2, reconnect={"most": "1s"})
    assert 500 < again.total(Kind.CONNECT) < 1200  # twenty of them, twice a second


def test_who_is_revoked_in_the_middle_is_gone_once_reconnected() -> None:
    revoke = {"revoke": {"fleet": "f", "share": 0.3}, "duration": "2s"}
    back = {"reconnect": {"fleet": "f", "within": "1s"}, "duration": "2s"}
    counted = load(CONNECT, revoke, back, back, reconnect={"enabled": False})
    assert counted.connected == pytest.approx(100)
    assert counted.leaving == {"f": pytest.approx(70)}


def test_commands_are_counted_apart() -> None:
    commands = {"topic": "{device}/c", "answer": "{device}/a"}
    counted = load(CONNECT, {"command": {"fleet": "f", "rate": "10/s"}, "duration": "3s"}, commands=commands)
    assert counted.work[Work(Kind.COMMAND, "f")] == pytest.approx((0, 0, 10, 10, 10))


def test_a_fleet_that_falls_silent_pings() -> None:
    silent = Fleet(devices=1)
    assert pings(silent) == pytest.approx(1 / 30)
    assert pings(silent.model_copy(update={"keepalive": 0})) == 0
    assert load(CONNECT, {"duration": "60s"}).work[Work(Kind.MESSAGE, "f")][29] == 0
    assert load(CONNECT, {"duration": "60s"}).work[Work(Kind.MESSAGE, "f")][-1] == pytest.approx(100 / 30)
    assert load(CONNECT, telemetry={**TELEMETRY, "every": "90s"}, keepalive="60s").total(Kind.MESSAGE) > 0


def test_back_off_doubles_up_to_its_limit() -> None:
    reconnect = Fleet.model_validate({"devices": 1, "reconnect": {"first": "1s", "most": "4s"}}).reconnect
    times = back_off(reconnect, Random(1), 0, 0)
    waits = [later - earlier for earlier, later in pairwise([0, *(next(times) for _ in range(400))])]
    assert waits[0] <= SECOND
    assert waits[1] <= 2 * SECOND
    assert 3.9 * SECOND < max(waits) <= 4 * SECOND
