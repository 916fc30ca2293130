"""Flaws that a broker truly has are found, in exact numbers, and no others: whole runs against a relay."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from simulator.clock import SECOND, now
from simulator.metrics.sample import Phase
from simulator.mqtt.packets import Disconnect, Publish
from simulator.report.conclusion import Conclusion
from simulator.report.saved import read
from simulator.report.summary import summarize
from tests.cloud.conftest import NAMES, Scene
from tests.support.relay import Fate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from simulator.report.figures import DeliveryFigures, Report

    Scenes = Callable[..., AbstractAsyncContextManager[Scene]]

ONE, TWO, THREE = NAMES
FLAWS = {
    (ONE, 3): Fate.LOSE,
    (ONE, 7): Fate.LOSE,
    (TWO, 2): Fate.DOUBLE,
    (TWO, 5): Fate.DOUBLE,
    (TWO, 9): Fate.DOUBLE,
    (THREE, 4): Fate.HOLD,
    (THREE, 8): Fate.HOLD,
}
QUIET = 'fleet.units.telemetry.every="1h"'


def of(packet: Publish) -> tuple[str, int]:
    said = json.loads(packet.payload)
    return said["device"], said["n"]


def fated(fates: Mapping[tuple[str, int], Fate]) -> Callable[[Publish], Fate]:
    return lambda packet: fates.get(of(packet), Fate.PASS)


def way(report: Report, phase: Phase) -> DeliveryFigures:
    (figures,) = [each for each in report.fleets[0].deliveries if each.phase is phase]
    return figures


def published(report: Report) -> int:
    (messages,) = [each for each in report.fleets[0].arrivals if each.of == "message"]
    return messages.started


def ok(report: Report, phase: Phase) -> int:
    (figures,) = [each for each in report.fleets[0].phases if each.phase is phase]
    return figures.outcomes.get("ok", 0)


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_what_is_lost_doubled_and_reordered_is_found(scene: Scenes, qos: int) -> None:
    limits = ("lost", "== 2"), ("deliver.duplicated", "== 3"), ("units.reordered", "== 2"), ("lost", "== 2")
    thresholds = [f'thresholds."{measure}"="{limit}"' for measure, limit in limits]
    async with scene(fated(FLAWS)) as stand:
        report = await stand.run(f"fleet.units.telemetry.qos={qos}", *thresholds)
        assert summarize(read(stand.folder / "run")).to_json() == report.to_json()
    found = way(report, Phase.DELIVER)
    assert found.qos == qos
    assert found.sent == published(report) >= 3 * 15
    assert (found.lost, found.duplicated, found.reordered) == (2, 3, 2)
    assert (found.unconfirmed, found.unobserved) == (0, 0)
    assert found.delivered == found.sent - 2 == ok(report, Phase.DELIVER)
    by_device = {each.device: each.deliveries for each in report.flawed}
    assert by_device[ONE].lost == 2
    assert by_device[TWO].duplicated == 3
    assert by_device[THREE].reordered == 2
    assert next(iter(by_device)) == ONE, "those first that lost most"
    assert report.conclusion is Conclusion.MET, report.reason


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_where_nothing_goes_wrong_nothing_is_found(scene: Scenes, qos: int) -> None:
    limits = [f'thresholds."{each}"="== 0"' for each in ("lost", "duplicated", "reordered", "failures")]
    async with scene() as stand:
        report = await stand.run(f"fleet.units.telemetry.qos={qos}", *limits)
    found = way(report, Phase.DELIVER)
    assert found.sent == found.delivered == published(report) == ok(report, Phase.DELIVER)
    assert report.flawed == ()
    assert report.observer is not None
    assert report.observer.messages == found.sent
    assert (report.observer.strangers, report.observer.breaks) == (0, 0)
    assert report.observer.cost > 0
    assert report.conclusion is Conclusion.MET, report.reason


async def test_what_was_never_acknowledged_is_not_called_lost(scene: Scenes) -> None:
    fates = {(ONE, 3): Fate.IGNORE, (TWO, 3): Fate.PASS_SILENTLY, (TWO, 5): Fate.LOSE}
    async with scene(fated(fates)) as stand:
        report = await stand.run('fleet.units.ack_timeout="300ms"')
    found = way(report, Phase.DELIVER)
    assert (found.lost, found.unconfirmed) == (1, 1)
    assert found.delivered == found.sent - 2
    (failure,) = report.failures
    assert (failure.outcome, failure.count) == ("ack_timeout", 2)


async def test_what_a_power_cut_left_without_acknowledgement_is_not_called_lost(scene: Scenes) -> None:
    cut = 'stage.steady.reconnect={ fleet = "units", within = "100ms", abrupt = true }'
    async with scene(fated({(ONE, 1): Fate.IGNORE})) as stand:
        report = await stand.run('stage.ramp.duration="200ms"', cut)
    found = way(report, Phase.DELIVER)
    assert found.lost == 0
    assert found.unconfirmed >= 1, "others may have been under way just then"
    assert found.sent == found.delivered + found.unconfirmed
    assert report.failures == ()


async def test_what_was_said_while_the_observer_was_away_is_not_called_lost(scene: Scenes) -> None:
    """Except what was lost long before."""

    def fate(packet: Publish) -> Fate:
        if of(packet) == (TWO, 30):
            stand.relay.drop("ear")
        return Fate.LOSE if of(packet) == (ONE, 1) else Fate.PASS

    async with scene(fate) as stand:
        report = await stand.run('limits.drain="150ms"', 'stage.steady.duration="900ms"')
    found = way(report, Phase.DELIVER)
    assert found.lost == 1
    assert found.unobserved >= 1
    assert found.sent == found.delivered + found.lost + found.unobserved
    assert found.delivered > 3 * 25, "it came back, and heard the rest"
    assert report.observer is not None
    assert report.observer.breaks == 1
    assert report.observer.away > 0


async def test_what_is_kept_from_before_or_said_by_others_does_not_count(scene: Scenes) -> None:
    strange = [Publish(f"t/{ONE}", b'{"device":"units-00001","n":2,"due":1,', 0), Publish("t/x", b"?", 0)]

    def fate(packet: Publish) -> Fate:
        if of(packet) == (ONE, 2):
            stand.relay.deliver(strange)
            stand.relay.deliver([packet._replace(qos=0, packet_id=None)], retain=True)
        return Fate.PASS

    async with scene(fate) as stand:
        report = await stand.run()
    found = way(report, Phase.DELIVER)
    assert found.sent == found.delivered
    assert (found.duplicated, found.reordered) == (0, 0)
    assert report.observer is not None
    assert (report.observer.retained, report.observer.strangers) == (1, 2)
    assert report.observer.messages == found.sent + 3


COMMANDS = (
    QUIET,
    'stage.ramp.duration="300ms"',  # in which each subscribes
    'stage.steady.command={ fleet = "units", rate = "45/s" }',
)


async def test_commands_and_answers_are_accounted_for(scene: Scenes) -> None:
    fates = {
        (f"c/{ONE}", 2): Fate.LOSE,
        (f"c/{TWO}", 1): Fate.DOUBLE,
        (f"c/{THREE}", 2): Fate.HOLD,
        (f"a/{THREE}", 5): Fate.LOSE,
    }

    def fate(packet: Publish) -> Fate:
        said = json.loads(packet.payload)
        return fates.get((packet.topic, said.get("command") or said.get("answer")), Fate.PASS)

    async with scene(fate) as stand:
        report = await stand.run(*COMMANDS)
        assert summarize(read(stand.folder / "run")).to_json() == report.to_json()
    sent = next(each for each in report.fleets[0].arrivals if each.of == "command")
    assert (sent.due, sent.started, sent.dropped, sent.offline) == (18, 18, 0, 0)
    commands, answers = way(report, Phase.COMMAND), way(report, Phase.COMMAND_ANSWER)
    assert (commands.sent, commands.delivered, commands.lost) == (18, 17, 1)
    assert (commands.duplicated, commands.reordered) == (1, 1)
    assert (answers.sent, answers.delivered, answers.lost) == (17, 16, 1)
    assert (answers.duplicated, answers.reordered) == (1, 1), "a unit answers what it is told twice, twice"
    assert (ok(report, Phase.COMMAND), ok(report, Phase.COMMAND_ANSWER)) == (17, 16)
    assert {each.device for each in report.flawed} == {ONE, TWO, THREE}


async def test_commands_go_to_a_share_of_the_fleet_and_all_are_answered(scene: Scenes) -> None:
    async with scene() as stand:
        report = await stand.run(*COMMANDS, "stage.steady.command.share=0.34")
        topics = {packet.topic for packet in stand.relay.of(Publish) if packet.topic.startswith("c/")}
        publishers = {packet.topic for packet in stand.relay.of(Publish) if packet.topic.startswith("a/")}
    assert len(topics) == len(publishers) == 1
    for phase in (Phase.COMMAND, Phase.COMMAND_ANSWER):
        assert (way(report, phase).sent, way(report, phase).delivered) == (18, 18)
        assert ok(report, phase) == 18
    response = {each.phase: each.response for each in report.fleets[0].phases}
    there, back = response[Phase.COMMAND], response[Phase.COMMAND_ANSWER]
    assert there is not None
    assert back is not None
    assert 0 < there.p50 < back.p50
    assert report.flawed == ()


async def test_a_command_that_nobody_acknowledges_fails_by_name(scene: Scenes) -> None:
    """The cloud loses its connection with the first; the others find it back, or are counted as offline."""

    def fate(packet: Publish) -> Fate:
        if packet.payload == b'{"command":1}' and packet.topic == f"c/{ONE}":
            stand.relay.drop("ear")
            return Fate.IGNORE
        return Fate.PASS

    async with scene(fate) as stand:
        report = await stand.run(*COMMANDS)
    commands = way(report, Phase.COMMAND)
    assert commands.lost == 0
    assert commands.sent == commands.delivered + commands.unconfirmed
    (failure,) = report.failures
    assert (failure.phase, failure.outcome) == (Phase.COMMAND, "connection_lost")
    assert failure.count >= commands.unconfirmed >= 1, "on a busy machine, more than one is under way"
    sent = next(each for each in report.fleets[0].arrivals if each.of == "command")
    assert sent.due == 18 == sent.started + sent.offline


async def test_a_lost_command_does_not_keep_a_fleet_whose_run_is_stopped(scene: Scenes) -> None:
    """Nor is it called lost, since the fleet did not wait for it as long as the scenario says."""
    stopped: list[int] = []

    def fate(packet: Publish) -> Fate:
        if packet.topic == f"c/{ONE}" and not stopped:
            stopped.append(now())
            asyncio.get_running_loop().call_later(0.1, stand.stop)
            return Fate.LOSE
        return Fate.PASS

    async with scene(fate) as stand:
        report = await stand.run(*COMMANDS, 'limits.drain="30s"', 'stage.steady.duration="60s"')
        assert len(stand.relay.of(Disconnect)) == len(NAMES) + 1, "and the observer"
    assert (now() - stopped[0]) / SECOND < 10
    commands = way(report, Phase.COMMAND)
    assert (commands.lost, commands.unobserved) == (0, 1)
    assert commands.sent == commands.delivered + 1
    assert report.conclusion is Conclusion.INTERRUPTED
