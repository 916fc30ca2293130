from __future__ import annotations

import hashlib
import itertools
import signal
import threading
from collections import deque
from random import Random

import pytest

from simulator.identity.spread import spread


def test_results_come_in_order() -> None:
    assert list(spread(lambda number: number * number, range(200))) == [number**2 for number in range(200)]


def test_it_runs_only_a_little_ahead_so_items_may_be_endless() -> None:
    taken: list[int] = []

    def remember(number: int) -> int:
        taken.append(number)
        return number

    results = spread(remember, itertools.count())
    assert list(itertools.islice(results, 3)) == [0, 1, 2]
    results.close()
    assert len(taken) < 100


def test_the_error_of_one_item_is_raised_in_its_place() -> None:
    results = spread(lambda number: 1 // number, [1, 1, 0, 1])
    assert next(results) == 1
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_closing_leaves_no_thread_behind() -> None:
    results = spread(lambda number: number, range(1000))
    next(results)
    assert any(thread.name.startswith("spread") for thread in threading.enumerate())
    results.close()
    assert not any(thread.name.startswith("spread") for thread in threading.enumerate())


@pytest.mark.timekeeping  # and coverage has a lock as well: Ctrl-C at any moment leaves it taken, for ever
def test_ctrl_c_at_any_moment_ends_it(request: pytest.FixtureRequest) -> None:
    """At 500 moments: without holding the signal back, one in a few hundred leaves a lock that nobody has."""
    moments = Random(11)
    before = signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
    request.addfinalizer(lambda: signal.signal(signal.SIGALRM, before))
    request.addfinalizer(lambda: signal.setitimer(signal.ITIMER_REAL, 0))
    for _ in range(500):
        with pytest.raises(KeyboardInterrupt):
            spread_until_interrupted(moments.uniform(10e-6, 1e-3))


def spread_until_interrupted(after: float) -> None:
    signal.setitimer(signal.ITIMER_REAL, after)
    deque(spread(digest, itertools.count()), maxlen=0)


def digest(number: int) -> bytes:
    """Work that lets go of the interpreter lock."""
    return hashlib.sha256(bytes(200_000 + number % 2)).digest()
