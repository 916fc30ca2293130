"""The timetable: the same for a seed, and the union over shards is the whole."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.clock import SECOND
from simulator.scenario.model import Scenario
from simulator.timetable import Call, Part, Verb, timetable


def scenario(*stages: dict[str, Any], devices: int = 40, seed: int = 7) -> Scenario:
    telemetry = {"topic": "t/{device}", "every": "1s"}
    fleets = {"core2": {"devices": devices, "telemetry": telemetry}}
    return Scenario.model_validate({"title": "t", "seed": seed, "fleet": fleets, "stage": list(stages)})


RAMP = {"name": "ramp", "connect": {"fleet": "core2", "rate": "10/s", "arrivals": "poisson"}}
STEADY = {"name": "steady", "duration": "15s"}
STORM = {"name": "storm", "reconnect": {"fleet": "core2", "share": 0.5, "within": "2s"}}


def test_stages_follow_each_other() -> None:
    ramp, steady, storm = timetable(scenario(RAMP, STEADY, STORM))
    assert ramp.start == 0
    assert ramp.end == ramp.actions[0].times[-1] == steady.start
    assert steady.end - steady.start == 15 * SECOND
    assert storm.start == steady.end


def test_a_stage_waits_for_its_last_device_and_not_less_than_it_says() -> None:
    (short,) = timetable(scenario({**RAMP, "duration": "100ms"}))
    (long,) = timetable(scenario({**RAMP, "duration": "60s"}))
    assert short.end == short.actions[0].times[-1] > 100_000_000
    assert long.end == 60 * SECOND


def test_connect_takes_each_absent_device_once() -> None:
    half = {"name": "a", "connect": {"fleet": "core2", "share": 0.5, "rate": "10/s"}}
    first, second = timetable(scenario(half, {**half, "name": "b"}))
    assert first.actions[0].devices == tuple(range(20))
    assert second.actions[0].devices == tuple(range(20, 40))


def test_reconnect_draws_a_share_by_seed() -> None:
    drawn = [timetable(scenario(RAMP, STORM, seed=seed))[1].actions[0].devices for seed in (7, 7, 8)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(set(drawn[0])) == 20


def test_disconnected_devices_can_connect_again() -> None:
    leave = {"name": "leave", "disconnect": {"fleet": "core2", "share": 0.25, "rate": "10/s"}}
    back = {"name": "back", "connect": {"fleet": "core2", "share": 0.25, "rate": "10/s"}}
    _, left, returned = timetable(scenario(RAMP, leave, back))
    assert set(returned.actions[0].devices) == set(left.actions[0].devices)
    assert len(left.actions[0].devices) == 10
    assert left.end - left.start < SECOND, "ten at ten a second, the first at once"


def test_within_keeps_everybody_inside() -> None:
    for kind in ("constant", "poisson"):
        storm = {"name": "s", "reconnect": {"fleet": "core2", "within": "2s", "arrivals": kind}}
        _, stage = timetable(scenario(RAMP, storm))
        times = stage.actions[0].times
        assert list(times) == sorted(times)
        assert stage.start <= times[0] <= times[-1] <= stage.start + 2 * SECOND


def test_publish_goes_round_the_devices_until_the_stage_ends() -> None:
    publish = {"name": "p", "duration": "3s", "publish": {"fleet": "core2", "rate": "20/s"}}
    _, stage = timetable(scenario(RAMP, publish))
    calls = list(stage.actions[0])
    assert [call.device for call in calls] == [number % 40 for number in range(60)]
    assert all(stage.start <= call.at < stage.end for call in calls)
    assert stage.actions[0].verb is Verb.PUBLISH


def test_outage_is_a_window_from_the_start_of_its_stage() -> None:
    _, stage = timetable(scenario(RAMP, {"name": "o", "duration": "20s", "outage": "5s"}))
    assert stage.outage == (stage.start, stage.start + 5 * SECOND)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 101])
@pytest.mark.parametrize(
    "process",
    [
        {"rate": "50/s"},
        {"rate": "50/s", "arrivals": "poisson"},
        {"rate": "50/s", "from": "10/s", "arrivals": "ramp"},
        {"rate": "50/s", "size": 5, "arrivals": "burst"},
    ],
)
def test_the_union_over_shards_is_the_same_load(count: int, process: dict[str, object]) -> None:
    publish = {"name": "p", "duration": "2s", "publish": {"fleet": "core2", **process}}
    whole = timetable(scenario(RAMP, STORM, publish))
    for number, stage in enumerate(whole):
        for place, action in enumerate(stage.actions):
            union: list[Call] = []
            for part in (Part(index, count) for index in range(count)):
                own = list(timetable(scenario(RAMP, STORM, publish))[number].actions[place].calls(part))
                assert all(part.owns(call.device) for call in own)
                union += own
            assert sorted(union) == sorted(action)
            assert union


def test_a_revocation_is_told_with_its_stage_and_asks_nothing_of_devices() -> None:
    revoke = {"name": "revoked", "duration": "2s", "revoke": {"fleet": "core2", "share": 0.1}}
    ramp, revoked = timetable(scenario(RAMP, revoke))
    assert ramp.revoke is None
    assert revoked.revoke is not None
    assert (revoked.revoke.fleet, revoked.revoke.share) == ("core2", 0.1)
    assert (revoked.start, revoked.end) == (ramp.end, ramp.end + 2 * SECOND)
    assert revoked.actions == ()


def test_those_who_connect_in_a_stage_were_absent_at_its_start() -> None:
    half = {"name": "half", "connect": {"fleet": "core2", "share": 0.5, "rate": "100/s"}}
    swap = {
        "name": "swap",
        "connect": {"fleet": "core2", "share": 0.5, "rate": "100/s"},
        "disconnect": {"fleet": "core2", "share": 0.5, "within": "100ms"},
    }
    first, second = timetable(scenario(half, swap))
    coming, going = second.actions
    assert (coming.verb, going.verb) == (Verb.CONNECT, Verb.DISCONNECT)
    assert set(coming.devices) == set(range(40)) - set(first.actions[0].devices)
    assert len(set(going.devices)) == 20


def test_whoever_connects_in_a_stage_may_be_drawn_to_reconnect_in_it() -> None:
    both = RAMP | {"reconnect": {"fleet": "core2", "share": 0.5, "within": "2s"}}
    (stage,) = timetable(scenario(both))
    assert len(stage.actions[1].devices) == 20
