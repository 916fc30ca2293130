"""The record of what a machine kept a thread from: that a wait is seen, and where it counts."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from simulator.clock import MILLISECOND
from tests.support.waits import Wait, Waits, Watched


@pytest.mark.parametrize(
    ("at", "kept"),
    [
        pytest.param(0, 0, id="long before"),
        pytest.param(19, 5, id="it came round to it during the first"),
        pytest.param(24, 5, id="it was in the midst of the first"),
        pytest.param(27, 5, id="just after the first"),
        pytest.param(35, 0, id="in between"),
        pytest.param(47, 13, id="late by the second, and so by the third"),
        pytest.param(63, 13, id="just after both"),
        pytest.param(70, 0, id="long after"),
    ],
)
def test_a_wait_counts_where_the_thread_had_something_to_do(at: int, kept: int) -> None:
    spans = ((20, 26, 5), (48, 53, 5), (54, 62, 8))
    waits = Waits(Wait(*(time * MILLISECOND for time in span)) for span in spans)
    assert waits.near(at * MILLISECOND) == kept * MILLISECOND
    assert waits.near(at * MILLISECOND, (at + 1) * MILLISECOND) >= kept * MILLISECOND


def test_a_thread_that_shares_its_processor_is_kept_waiting() -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        with subprocess.Popen([sys.executable, "-I", "-S", "-c", "while True: pass"]) as hog:
            with Watched() as watched:
                spent = time.thread_time()
                while time.thread_time() - spent < 0.1:
                    pass
            hog.kill()
    finally:
        os.sched_setaffinity(0, before)
    assert watched.waits.share > 0.2
