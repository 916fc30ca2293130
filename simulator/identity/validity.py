"""From when to when a certificate is valid.

A certificate counts whole seconds (RFC 5280 section 4.1.2.5), and OpenSSL takes it for expired as soon as
the second of ``not_after`` begins. So that a certificate for three seconds really lasts three seconds from
issuing, ``not_after`` is rounded up: it never ends early, and ends less than one second late.

``not_before`` lies a little in the past, because a device or broker whose clock is behind would otherwise
refuse a certificate that was just issued. The allowance is five minutes, and never more than a tenth of the
validity; that tenth also covers a kernel whose ``time()`` lags ``clock_gettime()`` by a tick.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from simulator import clock
from simulator.errors import FleetError

__all__ = ["CLOCK_ALLOWANCE", "Period", "period"]

CLOCK_ALLOWANCE = timedelta(minutes=5)
_ALLOWANCE_SHARE = 10
_SECOND = timedelta(seconds=1)


class Period(NamedTuple):
    """First and last second of a certificate, in UTC."""

    not_before: datetime
    not_after: datetime


def period(validity: timedelta, *, not_before: datetime | None = None, now: datetime | None = None) -> Period:
    """Return the period that lasts ``validity`` from ``now`` (default: this moment), one second at least.

    With ``not_before`` it starts exactly there and lasts ``validity`` from there, so that a certificate that
    is not valid yet, or not any more, can be made on purpose. Raises ``FleetError`` for a period that no
    certificate can state.
    """
    if validity < _SECOND:
        raise FleetError(
            f"a certificate is valid for one second at least, not {validity.total_seconds():g} s"
        )
    now = now or clock.wall()
    allowance = min(CLOCK_ALLOWANCE, validity / _ALLOWANCE_SHARE)
    try:
        return Period(_whole(not_before or now - allowance), _whole_up((not_before or now) + validity))
    except OverflowError:
        raise FleetError(f"a validity of {validity.days} days ends after the year 9999") from None


def _whole(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(microsecond=0)


def _whole_up(moment: datetime) -> datetime:
    whole = _whole(moment)
    return whole if whole == moment else whole + _SECOND
