"""What a run comes to, in one word, one sentence and one exit code."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from simulator.clock import SECOND
from simulator.metrics.outcome import Outcome
from simulator.metrics.sample import Phase
from simulator.metrics.threshold import Status
from simulator.report.run import RunStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulator.metrics.snapshot import Totals
    from simulator.report.figures import Generator, ThresholdFigures
    from simulator.report.run import Run

__all__ = ["Conclusion", "conclude"]


class Conclusion(StrEnum):
    """What a run comes to."""

    MET = "met"
    BROKEN = "broken"
    NOT_COUNTED = "not_counted"
    """The generator was the limit, or there is no data to judge."""
    UNREACHABLE = "unreachable"
    INTERRUPTED = "interrupted"
    INCOMPLETE = "incomplete"
    """The run failed, or its process was killed."""

    @property
    def exit_code(self) -> int:
        """What the command that ran, or that reports, returns to the shell."""
        return _EXIT_CODES[self]


_EXIT_CODES = {
    Conclusion.MET: 0,
    Conclusion.BROKEN: 1,
    Conclusion.NOT_COUNTED: 3,
    Conclusion.INCOMPLETE: 3,
    Conclusion.UNREACHABLE: 4,
    Conclusion.INTERRUPTED: 130,
}


def conclude(
    run: Run, totals: Totals, thresholds: Sequence[ThresholdFigures], generator: Generator
) -> tuple[Conclusion, str]:
    """Return the conclusion and the sentence that explains it; the first that applies, the gravest first."""
    return (
        _from_status(run, totals)
        or _from_losses(run)
        or _from_generator(run, totals, generator)
        or _from_silence(totals, thresholds)
        or _from_thresholds(thresholds)
    )


def _from_status(run: Run, totals: Totals) -> tuple[Conclusion, str] | None:
    match run.status:
        case RunStatus.UNREACHABLE:
            return Conclusion.UNREACHABLE, run.detail or "No connection to the broker could be made."
        case RunStatus.INTERRUPTED:
            return Conclusion.INTERRUPTED, "The run was interrupted; what it measured until then is below."
        case RunStatus.FAILED:
            return Conclusion.INCOMPLETE, run.detail or "The run failed before it was complete."
        case RunStatus.RUNNING:
            return Conclusion.INCOMPLETE, "The run is still going on, or was killed before its end."
    reached = (
        totals.outcomes(phase=Phase.TCP_CONNECT)[Outcome.OK]
        + totals.outcomes(phase=Phase.CONNECT)[Outcome.OK]
    )
    if totals.failures(phase=Phase.CONNECT) and not reached:
        return Conclusion.UNREACHABLE, "No connection to the broker could be made."
    return None


def _from_losses(run: Run) -> tuple[Conclusion, str] | None:
    """Say what share of the fleets was lost, and from when: it connected and sent nothing any more."""
    if not run.losses:
        return None
    first, *others = run.losses
    gone = sum(sum(loss.devices.values()) for loss in run.losses)
    also = f", and {len(others)} more after it" if others else ""
    return Conclusion.INCOMPLETE, (
        f"Shard {first.shard} of {len(run.hosts)} was lost after {first.at / SECOND:.1f} s{also}:"
        f" {first.reason}. {gone:,} of {sum(run.fleets.values()):,} devices went with it; the rest went on."
    )


def _from_generator(run: Run, totals: Totals, generator: Generator) -> tuple[Conclusion, str] | None:
    lag = generator.lag
    if lag is not None and lag.p99 > generator.lag_limit:
        return Conclusion.NOT_COUNTED, (
            f"The generator was the limit, not the broker: 1 % of arrivals started {_spell(lag.p99)} late or "
            f"more, and {_spell(generator.lag_limit)} is allowed. Lower the load, or use a faster machine."
        )
    if run.hearing is not None and run.hearing.lag_p99 > generator.lag_limit:
        return Conclusion.NOT_COUNTED, (
            "The observer was the limit, not the broker: 1 % of the time, messages that had come waited "
            f"{_spell(run.hearing.lag_p99)} or more to be read, and {_spell(generator.lag_limit)} is "
            "allowed. Lower the load, or observe fewer fleets."
        )
    if not totals.attempts():
        return Conclusion.NOT_COUNTED, "Nothing was measured: no device connected, or tried to."
    return None


def _from_silence(totals: Totals, thresholds: Sequence[ThresholdFigures]) -> tuple[Conclusion, str] | None:
    if totals.outcomes(phase=Phase.CONNECT)[Outcome.OK] or thresholds:
        return None
    return Conclusion.NOT_COUNTED, "No device could connect; the failures below say why."


def _from_thresholds(thresholds: Sequence[ThresholdFigures]) -> tuple[Conclusion, str]:
    total = len(thresholds)
    broken = [each.measure for each in thresholds if each.status is Status.BROKEN]
    if broken:
        return Conclusion.BROKEN, f"{len(broken)} of {_plural(total)} broken: {', '.join(broken)}."
    silent = [each.measure for each in thresholds if each.status is Status.NO_DATA]
    if silent:
        return (
            Conclusion.NOT_COUNTED,
            f"No data for {', '.join(silent)}: such a threshold is never met.",
        )
    if not thresholds:
        return Conclusion.MET, "The run is complete; the scenario sets no thresholds."
    return Conclusion.MET, "The one threshold is met." if total == 1 else f"All {total} thresholds are met."


def _plural(total: int) -> str:
    return f"{total} threshold{'' if total == 1 else 's'}"


def _spell(microseconds: int) -> str:
    return f"{microseconds / 1000:,.0f} ms"
