"""What the parts of a scenario must agree on: names, brokers and protocols, who is connected when.

The rules look at parts that were read one by one, so that they also find what is wrong beside a part that
could not be read; such a part is ``None`` here, and no rule guesses what it might have said.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from simulator.scenario import listening
from simulator.scenario.kinds import BrokerKind, CertificateKind, MqttVersion
from simulator.scenario.table import Mistake
from simulator.scenario.wording import quote

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from simulator.scenario.broker import Broker
    from simulator.scenario.fleet import Fleet
    from simulator.scenario.observe import Cloud, Observe
    from simulator.scenario.stage import Stage

__all__ = ["Parts", "disagreements", "lists_wanted"]

_ROUNDING = 1e-9
"""Shares such as three thirds add up to one but for this much."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a scenario, ``None`` where one could not be read."""

    broker: Broker | None
    fleets: Mapping[str, Fleet | None]
    stages: Sequence[Stage | None]
    observe: Observe | None = None
    cloud: Cloud | None = None


def disagreements(parts: Parts) -> Iterator[Mistake]:
    """Yield every mistake that only shows where two parts are held against each other."""
    yield from _broker_lacks(parts)
    yield from _revokes_self_signed(parts)
    yield from _names_twice(parts.stages)
    yield from _publish_without_topic(parts)
    yield from listening.confusions(parts.observe, parts.fleets, parts.stages)
    stages = [stage for stage in parts.stages if stage is not None]
    if stages and len(stages) == len(parts.stages):
        yield from _never_connected(parts.fleets, stages)
        yield from _not_connected_then(stages)


def _broker_lacks(parts: Parts) -> Iterator[Mistake]:
    """Yield what is asked of a broker that cannot do it."""
    kind = parts.broker.kind if parts.broker else None
    if kind is BrokerKind.EMBEDDED:
        for name, fleet in parts.fleets.items():
            if fleet and fleet.mqtt is MqttVersion.V5:
                phrase = 'the embedded broker speaks 3.1.1; use kind = "mosquitto" or mqtt = "3.1.1"'
                yield Mistake(("fleet", name, "mqtt"), phrase)
    if kind not in {BrokerKind.EXTERNAL, None} and parts.cloud and parts.cloud.certificate is not None:
        phrase = "belongs to an external broker; one that the run starts trusts what the run issues itself"
        yield Mistake(("cloud", "certificate"), phrase)
    if parts.broker and parts.broker.count > 1:
        yield from _heard_in_part(parts)
    if kind is BrokerKind.EXTERNAL:
        for index, stage in enumerate(parts.stages):
            if stage and stage.outage is not None:
                phrase = (
                    'an external broker cannot be stopped from here; use kind = "mosquitto" or "embedded"'
                )
                yield Mistake(("stage", index, "outage"), phrase)
            if stage and stage.revoke is not None:
                phrase = (
                    "an external broker takes revocation lists from its operator only; use revoked = … in the"
                    " fleet, and give the operator what `simulator fleet crl` writes"
                )
                yield Mistake(("stage", index, "revoke"), phrase)


def _heard_in_part(parts: Parts) -> Iterator[Mistake]:
    """Yield what the run's own client would have to hear of several brokers that share nothing."""
    if listening.filters(parts.observe, parts.fleets, parts.stages):
        phrase = (
            "the run observes, or commands, from one broker, and several share nothing: use count = 1, or an"
            " external cluster"
        )
        yield Mistake(("broker", "count"), phrase)


def _revokes_self_signed(parts: Parts) -> Iterator[Mistake]:
    """Yield lists that cannot be: what no authority vouches for, no authority can take back."""
    for index, stage in enumerate(parts.stages):
        fleet = parts.fleets.get(stage.revoke.fleet) if stage and stage.revoke else None
        if fleet and fleet.certificates is CertificateKind.SELF_SIGNED:
            phrase = "no list revokes a self-signed certificate in a run; use revoked = … in the fleet"
            yield Mistake(("stage", index, "revoke"), phrase)
    managed = parts.broker and parts.broker.kind is not BrokerKind.EXTERNAL
    listed = lists_wanted(parts.fleets, parts.stages) if managed else []
    for name, fleet in parts.fleets.items():
        if listed and fleet and fleet.certificates is CertificateKind.SELF_SIGNED:
            phrase = (
                f"a broker that looks at revocation lists, as fleet {quote(listed[0])} asks for, refuses"
                " self-signed certificates, which are in none: run the two apart"
            )
            yield Mistake(("fleet", name, "certificates"), phrase)


def lists_wanted(fleets: Mapping[str, Fleet | None], stages: Sequence[Stage | None]) -> list[str]:
    """Return the fleets for whose sake a broker has to look at revocation lists."""
    later = {stage.revoke.fleet for stage in stages if stage and stage.revoke}
    return [
        name
        for name, fleet in fleets.items()
        if fleet and fleet.certificates is CertificateKind.ISSUED and (fleet.revoked or name in later)
    ]


def _names_twice(stages: Sequence[Stage | None]) -> Iterator[Mistake]:
    seen: set[str] = set()
    for index, stage in enumerate(stages):
        if stage and stage.name in seen:
            yield Mistake(("stage", index, "name"), f"another stage is called {quote(stage.name)} already")
        elif stage:
            seen.add(stage.name)


def _publish_without_topic(parts: Parts) -> Iterator[Mistake]:
    for index, stage in enumerate(parts.stages):
        if stage and stage.publish:
            name = stage.publish.fleet
            fleet = parts.fleets.get(name)
            if fleet and fleet.telemetry is None:
                phrase = f"fleet {quote(name)} has no [fleet.{name}.telemetry], whose topic this would use"
                yield Mistake(("stage", index, "publish", "fleet"), phrase)


def _never_connected(fleets: Mapping[str, Fleet | None], stages: Sequence[Stage]) -> Iterator[Mistake]:
    connected = {stage.connect.fleet for stage in stages if stage.connect}
    for name in fleets:
        if name not in connected:
            example = f'connect = {{ fleet = "{name}", rate = "100/s" }}'
            yield Mistake(("fleet", name), f"no stage connects this fleet; a stage needs {example}")


def _not_connected_then(stages: Sequence[Stage]) -> Iterator[Mistake]:
    """Yield actions on a larger share of a fleet than there is to act on when they come."""
    connected = {stage.connect.fleet: 0.0 for stage in stages if stage.connect}
    for index, stage in enumerate(stages):
        for action, fleet, share, change in _shares(stage):
            there = 1 - connected[fleet] if action == "connect" else connected[fleet]
            if share > there + _ROUNDING:
                left = "not connected" if action == "connect" else "connected"
                phrase = (
                    f"asks for {share:.4g} of fleet {quote(fleet)}, and {there:.4g} of it is {left} by then"
                )
                yield Mistake(("stage", index, action), phrase)
            connected[fleet] = min(max(connected[fleet] + change, 0.0), 1.0)


def _shares(stage: Stage) -> Iterator[tuple[str, str, float, float]]:
    """Yield the actions of a stage: name, fleet, share, and what it adds to the share that is connected."""
    if connect := stage.connect:
        yield "connect", connect.fleet, connect.share, connect.share
    if reconnect := stage.reconnect:
        yield "reconnect", reconnect.fleet, reconnect.share, 0.0
    if command := stage.command:
        yield "command", command.fleet, command.share, 0.0
    if disconnect := stage.disconnect:
        yield "disconnect", disconnect.fleet, disconnect.share, -disconnect.share
