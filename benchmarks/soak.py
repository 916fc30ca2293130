"""A long run through the product itself: does memory grow, the generator fall behind, a message get lost.

    python benchmarks/soak.py [MINUTES]

It has ``simulator run soak`` take so long, 20 minutes by default, and judges what that run saved. The last
line is one JSON object; the exit code is 1 where a claim does not hold.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from rig import BrokenBenchmarkError

from simulator.clock import SECOND
from simulator.metrics.histogram import Histogram
from simulator.metrics.outcome import Outcome
from simulator.metrics.sample import Kind, Phase
from simulator.metrics.snapshot import ArrivalOf
from simulator.report import histogram_log, interval
from simulator.report.folder import HISTOGRAMS, INTERVALS
from simulator.report.saved import read

if TYPE_CHECKING:
    from simulator.metrics.snapshot import Snapshot, Totals

MIB = 1 << 20
CHURN = 0.05
"""Share of the time, in the middle, in which a tenth of the devices lose their power and return."""
SETTLED = 120
"""Seconds after which memory is to be flat; half of a run that is too short for that."""
FLAT = 2.0
"""Percent."""
LAG_MS, LAG_SHARE = 1.0, 0.5
"""How far the lag of the last third may be above that of the first: so much, or such a share of it."""


def run(minutes: float, folder: Path) -> bool:
    """Run the scenario that ships, so long after its ramp, and tell whether the run counts."""
    lengths = {
        "soak.duration": (1 - CHURN) / 2,
        "churn.reconnect.within": CHURN,
        '"soak again".duration': (1 - CHURN) / 2,
    }
    changes = [f'stage.{key}="{share * minutes * 60:.0f}s"' for key, share in lengths.items()]
    options = [word for change in changes for word in ("--set", change)]
    command = [sys.executable, "-m", "simulator", "run", "soak", "--out", str(folder), *options]
    code = subprocess.run(command, check=False, stdout=sys.stderr).returncode
    if code not in {0, 1, 3}:
        raise BrokenBenchmarkError(f"the run ended with exit code {code}")
    return code != 3  # broken thresholds are the broker's affair


def held(folder: Path) -> list[Snapshot]:
    """Return the intervals after the ramp."""
    lines = (folder / INTERVALS).read_text(encoding="utf-8").splitlines()
    return [each for each in map(interval.from_json, lines) if each.stage not in {"", "ramp"}]


def memory(intervals: list[Snapshot]) -> dict[str, float]:
    """Return resident memory once it has settled, at the end, and how far it ever was from the former."""
    start, end = intervals[0].start, intervals[-1].end
    settled = min(start + SETTLED * SECOND, (start + end) // 2)
    rss = [each.rss for each in intervals if each.end >= settled]
    return {
        "soak_rss_settled_mib": round(rss[0] / MIB, 2),
        "soak_rss_end_mib": round(rss[-1] / MIB, 2),
        "soak_rss_deviation_percent": round(max(abs(each - rss[0]) for each in rss) / rss[0] * 100, 2),
    }


def lag(folder: Path, intervals: list[Snapshot]) -> dict[str, float]:
    """Return the p99 of the lag in the first and the last third, milliseconds."""
    start, end = intervals[0].start / SECOND, intervals[-1].end / SECOND
    thirds = [Histogram() for _ in range(3)]
    with (folder / HISTOGRAMS).open(encoding="utf-8") as lines:
        for text in lines:
            line = histogram_log.parse(text)
            if line is None or line.kind is not Kind.LAG:
                continue
            at = float(text.split(",")[1])
            if start <= at < end:
                thirds[int((at - start) / (end - start) * 3)].add(line.histogram)
    first, _, last = (third.percentile(99) / 1000 for third in thirds)
    return {"soak_lag_p99_first_ms": round(first, 2), "soak_lag_p99_last_ms": round(last, 2)}


def messages(totals: Totals) -> dict[str, int]:
    """Return what became of each message that was due."""
    arrivals = totals.arrivals(of=ArrivalOf.MESSAGE)
    outcomes = totals.outcomes(phase=Phase.PUBLISH)
    acknowledged, unfinished = outcomes[Outcome.OK], outcomes[Outcome.UNFINISHED]
    cut_off = outcomes[Outcome.CUT_OFF]
    return {
        "soak_messages_due": arrivals.due,
        "soak_messages_acknowledged": acknowledged,
        "soak_messages_dropped": arrivals.dropped,
        "soak_messages_offline": arrivals.offline,
        "soak_messages_cut_off": cut_off,
        "soak_messages_failed": outcomes.total() - acknowledged - unfinished - cut_off,
        "soak_messages_unfinished": unfinished,
    }


def measure(minutes: float) -> dict[str, object]:
    """Return the figures, and whether each claim holds."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "run"
        counts = run(minutes, folder)
        intervals, totals = held(folder), read(folder).totals
        resident, lags, fates = memory(intervals), lag(folder, intervals), messages(totals)
    due, *ends = fates.values()
    first, last = lags.values()
    return {
        "soak_minutes": round((intervals[-1].end - intervals[0].start) / SECOND / 60, 1),
        "soak_devices": sum(totals.devices["core2"].values()),
        **resident,
        **lags,
        **fates,
        "soak_counts": counts,
        "soak_memory_flat": resident["soak_rss_deviation_percent"] <= FLAT,
        "soak_lag_unchanged": last <= first + max(LAG_MS, LAG_SHARE * first),
        "soak_every_message_accounted_for": 0 < due == sum(ends),
    }


def main() -> None:
    figures = measure(float(sys.argv[1]) if len(sys.argv) > 1 else 20.0)
    print(json.dumps(figures))
    sys.exit(0 if all(figure for figure in figures.values() if isinstance(figure, bool)) else 1)


if __name__ == "__main__":
    main()
