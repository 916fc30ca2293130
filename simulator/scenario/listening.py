"""What the run itself listens to, as observer and for answers to commands, and what would confuse it.

Functions of a scenario's parts, any of which may be ``None`` where it could not be read. This module must not
know who listens, or how.
"""

from __future__ import annotations

import re
from itertools import combinations
from typing import TYPE_CHECKING

from simulator.scenario.filters import everybodys, overlap
from simulator.scenario.fleet import TemplatePayload
from simulator.scenario.table import Mistake
from simulator.scenario.wording import quote

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from simulator.scenario.fleet import Commands, Fleet
    from simulator.scenario.observe import Observe
    from simulator.scenario.stage import Stage

__all__ = ["commanded", "confusions", "filters", "observed"]

_RUN_TOGETHER = re.compile(r"\{device\}\{counter\}|\{counter\}\{device\}|\{counter\}\{counter\}")


def observed(observe: Observe | None, fleets: Mapping[str, Fleet | None]) -> list[str]:
    """Return the fleets whose telemetry is observed."""
    if observe is None:
        return []
    wanted = observe.fleets or tuple(fleets)
    return [name for name in wanted if (fleet := fleets.get(name)) and fleet.telemetry]


def commanded(fleets: Mapping[str, Fleet | None], stages: Sequence[Stage | None]) -> list[str]:
    """Return the fleets that some stage sends commands to."""
    targets = {stage.command.fleet for stage in stages if stage and stage.command}
    return [name for name, fleet in fleets.items() if name in targets and fleet and fleet.commands]


def filters(
    observe: Observe | None, fleets: Mapping[str, Fleet | None], stages: Sequence[Stage | None]
) -> dict[str, int]:
    """Return what to subscribe to, each filter once, with the quality of service to ask for."""
    wanted: dict[str, int] = {}
    for topic, qos in (*_telemetry(observe, fleets, stages), *_answers(fleets, stages)):
        wanted[topic] = max(qos, wanted.get(topic, 0))
    return wanted


def _telemetry(
    observe: Observe | None, fleets: Mapping[str, Fleet | None], stages: Sequence[Stage | None]
) -> Iterator[tuple[str, int]]:
    for name in observed(observe, fleets):
        fleet = fleets[name]
        if observe and fleet and fleet.telemetry:
            qos = observe.qos if observe.qos is not None else _highest(name, fleet.telemetry.qos, stages)
            for topic in observe.topics or (everybodys(fleet.telemetry.topic, name),):
                yield topic, qos


def _highest(name: str, qos: int, stages: Sequence[Stage | None]) -> int:
    """Return the highest quality of service that a fleet publishes with."""
    extra = (stage.publish for stage in stages if stage and stage.publish)
    return max([qos, *(each.qos or 0 for each in extra if each.fleet == name)])


def _answers(fleets: Mapping[str, Fleet | None], stages: Sequence[Stage | None]) -> Iterator[tuple[str, int]]:
    for name in commanded(fleets, stages):
        fleet = fleets[name]
        if fleet and fleet.commands:
            yield everybodys(fleet.commands.answer, name), fleet.commands.qos


def confusions(
    observe: Observe | None, fleets: Mapping[str, Fleet | None], stages: Sequence[Stage | None]
) -> Iterator[Mistake]:
    """Yield what would keep the listener from telling who said what, and how often."""
    yield from _nothing_to_hear(observe, fleets)
    yield from _commands_to_nobody(fleets, stages)
    yield from _runs_together(observe, fleets)
    for one, other in combinations(filters(observe, fleets, stages), 2):
        if overlap(one, other):
            phrase = f"{quote(one)} and {quote(other)} overlap, and a broker may deliver a message for each"
            where = ("observe", "topics") if observe and observe.topics else ("observe",)
            yield Mistake(where if observe else ("fleet",), f"{phrase}; keep their topics apart")


def _nothing_to_hear(observe: Observe | None, fleets: Mapping[str, Fleet | None]) -> Iterator[Mistake]:
    if observe is None:
        return
    for index, name in enumerate(observe.fleets):
        fleet = fleets.get(name)
        if fleet and fleet.telemetry is None:
            phrase = f"fleet {quote(name)} has no [fleet.{name}.telemetry] to observe"
            yield Mistake(("observe", "fleets", index), phrase)
    if not observe.fleets and all(fleet and fleet.telemetry is None for fleet in fleets.values()):
        yield Mistake(("observe",), "no fleet has telemetry to observe; one needs [fleet.NAME.telemetry]")


def _commands_to_nobody(
    fleets: Mapping[str, Fleet | None], stages: Sequence[Stage | None]
) -> Iterator[Mistake]:
    for index, stage in enumerate(stages):
        if stage and stage.command:
            name = stage.command.fleet
            fleet = fleets.get(name)
            if fleet and fleet.commands is None:
                phrase = f"fleet {quote(name)} has no [fleet.{name}.commands], whose topics this would use"
                yield Mistake(("stage", index, "command", "fleet"), phrase)
    for name, fleet in fleets.items():
        if fleet and fleet.commands:
            yield from _commands_twice(name, fleet, fleet.commands)


def _commands_twice(name: str, fleet: Fleet, commands: Commands) -> Iterator[Mistake]:
    if commands.topic == commands.answer:
        phrase = "must differ from topic: a device would take its own answers for commands"
        yield Mistake(("fleet", name, "commands", "answer"), phrase)
    for index, each in enumerate(fleet.subscribe):
        if overlap(each.topic, commands.topic):
            phrase = f"matches the topic of commands, {quote(commands.topic)}, which is subscribed to anyway"
            yield Mistake(("fleet", name, "subscribe", index, "topic"), phrase)


def _runs_together(observe: Observe | None, fleets: Mapping[str, Fleet | None]) -> Iterator[Mistake]:
    for name in observed(observe, fleets):
        fleet = fleets[name]
        payload = fleet.telemetry.payload if fleet and fleet.telemetry else None
        if isinstance(payload, TemplatePayload) and _RUN_TOGETHER.search(payload.template):
            phrase = "an observer cannot tell {device} and {counter} apart with nothing between them"
            yield Mistake(("fleet", name, "telemetry", "payload", "template"), phrase)
