"""Topic filters (MQTT 3.1.1, 4.7): which one hears a whole fleet, and whether two hear the same topic.

This module knows text only: nothing of fleets, brokers or connections.
"""

from __future__ import annotations

from simulator.scenario.template import fill

__all__ = ["everybodys", "overlap"]


def everybodys(topic: str, fleet: str) -> str:
    """Return the filter that matches ``topic`` for each device: a level with ``{device}`` in it becomes +."""
    levels = fill(topic, {"fleet": fleet}).split("/")
    return "/".join("+" if "{device}" in level else level for level in levels)


def overlap(one: str, other: str) -> bool:
    """Tell whether some topic matches both filters: such a message may come once for each (3.3.5)."""
    return _overlap(one.split("/"), other.split("/"))


def _overlap(one: list[str], other: list[str]) -> bool:
    if not one or not other:
        return (one or other or ["#"])[0] == "#"  # a/# matches a itself [MQTT-4.7.1-2]
    if "#" in (one[0], other[0]):
        return True
    return ("+" in (one[0], other[0]) or one[0] == other[0]) and _overlap(one[1:], other[1:])
