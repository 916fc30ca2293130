"""The part of a report that tells of messages from one end to the other, as the observer saw them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from simulator.clock import MICROSECOND, SECOND
from simulator.report.figures import DeliveryFigures, DeviceFigures, Observer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulator.metrics.delivery import DeliveryCounts, DeliveryKey, DeviceDelivery
    from simulator.metrics.snapshot import Totals
    from simulator.report.run import Run
    from simulator.report.tally import Tally

__all__ = ["deliveries", "flawed", "observer"]

DEVICES_SHOWN = 1_000
"""Devices with a flaw that a report names."""


def deliveries(totals: Totals, fleet: str) -> Iterator[DeliveryFigures]:
    """Yield what became of the messages of a fleet, by way and quality of service."""
    for key in totals.delivery_keys:
        if key.fleet == fleet:
            yield _figures(key, totals.deliveries(fleet=fleet, phase=key.phase, qos=key.qos))


def flawed(tally: Tally) -> Iterator[DeviceFigures]:
    """Yield the devices with a flaw, those first that lost most."""
    for each in sorted(tally.flawed, key=_gravity)[:DEVICES_SHOWN]:
        figures = _figures(each.key, each.counts)
        yield DeviceFigures(each.key.fleet, each.device, figures, each.mean, each.max)


def observer(run: Run) -> Observer | None:
    """Return how the observer fared, or None where there was none."""
    hearing = run.hearing
    if hearing is None:
        return None
    return Observer(
        messages=hearing.messages,
        retained=hearing.retained,
        strangers=hearing.strangers,
        cost=round(hearing.spent / max(hearing.messages, 1) / MICROSECOND, 1),
        breaks=hearing.breaks,
        away=round(hearing.away / SECOND, 3),
        lag_p50=hearing.lag_p50,
        lag_p99=hearing.lag_p99,
        lag_max=hearing.lag_max,
    )


def _figures(key: DeliveryKey, counts: DeliveryCounts) -> DeliveryFigures:
    return DeliveryFigures(phase=key.phase, qos=key.qos, **asdict(counts))


def _gravity(each: DeviceDelivery) -> tuple[int, int, str]:
    counts = each.counts
    return -counts.lost, -(counts.duplicated + counts.reordered), each.device
