"""Snapshots as lines of JSON: everything in them but the histograms, which the histogram log holds."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING

from simulator.metrics.delivery import DeliveryCounts, DeliveryKey
from simulator.metrics.sample import Phase
from simulator.metrics.snapshot import (
    ArrivalCounts,
    ArrivalKey,
    ArrivalOf,
    ResumptionCounts,
    SeriesInterval,
    SeriesKey,
    Snapshot,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["from_json", "to_json"]


def to_json(snapshot: Snapshot) -> str:
    """Return the counts and gauges of a snapshot as one line, without the line's end."""
    document = {
        "shard": snapshot.shard,
        "stage": snapshot.stage,
        "start": snapshot.start,
        "end": snapshot.end,
        "cpu": snapshot.cpu,
        "rss": snapshot.rss,
        "devices": snapshot.devices,
        "arrivals": _nested((*key, asdict(counts)) for key, counts in snapshot.arrivals.items()),
        "outcomes": _nested((*key, interval.outcomes) for key, interval in snapshot.series.items()),
        "resumptions": {fleet: asdict(counts) for fleet, counts in snapshot.resumptions.items()},
        "deliveries": [(*key, asdict(counts)) for key, counts in snapshot.deliveries.items()],
    }
    return json.dumps(document, separators=(",", ":"))


def from_json(line: str) -> Snapshot:
    """Return the snapshot that ``to_json`` wrote, its histograms empty; ``ValueError`` for any other line."""
    try:
        document = json.loads(line)
        return Snapshot(
            shard=document["shard"],
            stage=document["stage"],
            start=document["start"],
            end=document["end"],
            cpu=document["cpu"],
            rss=document["rss"],
            devices=document["devices"],
            arrivals={
                ArrivalKey(fleet, ArrivalOf(of)): ArrivalCounts(**counts)
                for fleet, kinds in document["arrivals"].items()
                for of, counts in kinds.items()
            },
            series={
                SeriesKey(fleet, Phase(phase)): SeriesInterval(Counter(outcomes))
                for fleet, phases in document["outcomes"].items()
                for phase, outcomes in phases.items()
            },
            resumptions={
                fleet: ResumptionCounts(**counts) for fleet, counts in document["resumptions"].items()
            },
            deliveries={
                DeliveryKey(fleet, Phase(phase), qos): DeliveryCounts(**counts)
                for fleet, phase, qos, counts in document.get("deliveries", ())
            },
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not an interval: {error!r}") from None


def _nested(rows: Iterable[tuple[str, str, object]]) -> dict[str, dict[str, object]]:
    nested: dict[str, dict[str, object]] = {}
    for fleet, word, value in rows:
        nested.setdefault(fleet, {})[word] = value
    return nested
