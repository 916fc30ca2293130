"""What became of each device's messages, as JSON: one line for a device, a way and a quality of service."""

from __future__ import annotations

import json
from dataclasses import asdict

from simulator.metrics.delivery import DeliveryCounts, DeliveryKey, DeviceDelivery
from simulator.metrics.sample import Phase

__all__ = ["from_json", "to_json"]

_COUNTS = tuple(asdict(DeliveryCounts()))


def to_json(delivery: DeviceDelivery) -> str:
    """Return one line, without its end."""
    fleet, phase, qos = delivery.key
    document = {"fleet": fleet, "device": delivery.device, "phase": phase, "qos": qos}
    return json.dumps(
        {**document, **asdict(delivery.counts), "mean": delivery.mean, "max": delivery.max},
        ensure_ascii=False,
        separators=(",", ":"),
    )


def from_json(line: str) -> DeviceDelivery:
    """Return what ``to_json`` wrote; ``ValueError`` for any other line."""
    try:
        document = json.loads(line)
        return DeviceDelivery(
            document["device"],
            DeliveryKey(document["fleet"], Phase(document["phase"]), document["qos"]),
            DeliveryCounts(**{name: document[name] for name in _COUNTS}),
            document["mean"],
            document["max"],
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a device's deliveries: {error!r}") from None
