"""What only a machine can prove that has time for it: by request, or where the kernel says that it had."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeVar

import pytest

from tests.support.waits import Watched

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.support.waits import Waits

__all__ = ["on_an_idle_machine", "while_it_has_time"]

Result = TypeVar("Result")

BUSY = 0.25
"""Share of a run's time for which the machine may have kept the generator waiting, to be judged by."""
TRIES = 3

on_an_idle_machine = pytest.mark.skipif(
    os.environ.get("SIMULATOR_TRUTH") != "1",
    reason="to keep time with nothing allowed to the machine wants one with nothing else to do: make truth",
)


async def while_it_has_time(run: Callable[[], Awaitable[Result]]) -> tuple[Result, Waits]:
    """Return what comes of a run that the machine had time for, and where it kept us waiting all the same.

    Whether it had time is the kernel's word alone, whatever came of the run.
    """
    shares = []
    for _ in range(TRIES):
        with Watched() as watched:
            result = await run()
        if watched.waits.share <= BUSY:
            return result, watched.waits
        shares.append(f"{watched.waits.share:.0%}")
    pytest.skip(f"this machine kept the generator from running for {', '.join(shares)} of the time")
