"""The pacer: never early, in order, undisturbed by an action that fails, and stopped for good."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
import uvloop

from simulator.clock import MILLISECOND, SECOND, now
from simulator.pacer import BATCH, KernelAlarm, LoopAlarm, Pacer
from tests.support.changes import Changes
from tests.support.descriptors import open_descriptors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Diary:
    """Actions that write down when they were due and when they were called."""

    def __init__(self) -> None:
        self.entries: list[tuple[int, int]] = []
        self.names: list[str] = []
        self._changes = Changes()

    def write(self, due: int, name: str = "") -> None:
        self.entries.append((due, now()))
        self.names.append(name)
        self._changes.poke()

    def action(self, name: str) -> Any:
        return lambda due: self.write(due, name)

    async def has(self, number: int) -> None:
        await self._changes.until(lambda: len(self.entries) >= number)

    @property
    def lags(self) -> list[int]:
        return [called - due for due, called in self.entries]


@pytest.fixture
def diary() -> Diary:
    return Diary()


@pytest_asyncio.fixture(params=["the system's alarm", "the loop's alarm"])
async def pacer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pacer]:
    if request.param == "the loop's alarm":
        monkeypatch.setattr(sys, "platform", "darwin")
    made = Pacer(asyncio.get_running_loop())
    monkeypatch.undo()
    yield made
    made.stop()


async def test_is_never_early_and_passes_on_the_due_time(pacer: Pacer, diary: Diary) -> None:
    start = now()
    dues = [start + number * MILLISECOND // 2 for number in range(40)]
    for due in dues:
        pacer.at(due, diary.action(""))
    await diary.has(40)
    assert [due for due, _ in diary.entries] == dues
    assert min(diary.lags) >= 0
    assert sorted(diary.lags)[20] < SECOND


async def test_calls_in_order_whatever_the_order_of_asking(pacer: Pacer, diary: Diary) -> None:
    soon = now() + 5 * MILLISECOND
    for offset in (3, 1, 2, 1, 0):
        pacer.at(soon + offset, diary.action(str(offset)))
    await diary.has(5)
    assert diary.names == ["0", "1", "1", "2", "3"]


async def test_what_is_due_at_the_same_time_goes_first_come_first_served(pacer: Pacer, diary: Diary) -> None:
    due = now() + MILLISECOND
    names = [str(number) for number in range(3 * BATCH)]
    for name in names:
        pacer.at(due, diary.action(name))
    await diary.has(len(names))
    assert diary.names == names


async def test_one_that_is_asked_later_and_due_earlier_goes_first(pacer: Pacer, diary: Diary) -> None:
    start = now()
    pacer.at(start + 3600 * SECOND, diary.action("far away"))
    pacer.at(start + 20 * MILLISECOND, diary.action("second"))
    pacer.at(start + MILLISECOND, diary.action("first"))
    await diary.has(2)
    assert diary.names == ["first", "second"]
    assert min(diary.lags) >= 0


async def test_what_is_overdue_is_called_soon(pacer: Pacer, diary: Diary) -> None:
    pacer.at(now() - SECOND, diary.action(""))
    pacer.at(0, diary.action(""))
    assert diary.entries == [], "but never from within at()"
    await diary.has(2)


async def test_an_action_comes_again_when_it_says(pacer: Pacer, diary: Diary) -> None:
    def again(due: int) -> int | None:
        diary.write(due)
        return due + MILLISECOND if len(diary.entries) < 5 else None

    start = now()
    pacer.at(start, again)
    await diary.has(5)
    assert [due for due, _ in diary.entries] == [start + number * MILLISECOND for number in range(5)]
    assert pacer._queue == []


async def test_an_action_may_ask_for_another(pacer: Pacer, diary: Diary) -> None:
    def ask(due: int) -> None:
        diary.write(due, "first")
        pacer.at(due + 1, diary.action("second"))
        pacer.at(due - 1, diary.action("overdue"))

    pacer.at(now() + MILLISECOND, ask)
    await diary.has(3)
    assert diary.names == ["first", "overdue", "second"]


async def test_sockets_are_served_between_batches(pacer: Pacer, diary: Diary) -> None:
    """A long row of overdue actions does not keep the loop from what else is ready."""
    read, write = os.pipe()
    loop = asyncio.get_running_loop()
    called_before = asyncio.Event()

    def readable() -> None:
        loop.remove_reader(read)
        diary.names.append("socket")
        called_before.set()

    loop.add_reader(read, readable)
    os.write(write, b"x")
    due = now() - SECOND
    for _ in range(50 * BATCH):
        pacer.at(due, diary.action("action"))
    async with asyncio.timeout(10):
        await called_before.wait()
    assert diary.names.index("socket") <= 2 * BATCH
    await diary.has(50 * BATCH)
    os.close(read)
    os.close(write)


async def test_an_action_that_fails_does_not_stop_the_others(pacer: Pacer, diary: Diary) -> None:
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))

    def fail(due: int) -> None:
        raise RuntimeError("a bug")

    due = now() + MILLISECOND
    pacer.at(due, diary.action("before"))
    pacer.at(due + 1, fail)
    pacer.at(due + 2, diary.action("after"))
    pacer.at(due + 5 * MILLISECOND, fail)
    await diary.has(2)
    assert diary.names == ["before", "after"]
    pacer.at(due + 6 * MILLISECOND, diary.action("later"))
    await diary.has(3)
    assert [str(context["exception"]) for context in told] == ["a bug", "a bug"]


async def test_stopped_it_forgets_and_takes_nothing(pacer: Pacer, diary: Diary) -> None:
    pacer.at(now() + MILLISECOND, diary.action("never"))
    pacer.stop()
    pacer.at(now(), diary.action("never either"))
    pacer.stop()
    pacer._wake()
    witness = Pacer(asyncio.get_running_loop())
    witness.at(now() + 5 * MILLISECOND, diary.action("witness"))
    await diary.has(1)
    witness.stop()
    assert diary.names == ["witness"]


async def test_stopped_by_an_action_it_calls_no_other(pacer: Pacer, diary: Diary) -> None:
    def stop(due: int) -> int:
        diary.write(due, "stop")
        pacer.stop()
        return due

    pacer.at(now(), stop)
    pacer.at(now(), diary.action("never"))
    await diary.has(1)
    witness = Pacer(asyncio.get_running_loop())
    witness.at(now() + MILLISECOND, diary.action("witness"))
    await diary.has(2)
    witness.stop()
    assert diary.names == ["stop", "witness"]


@pytest.mark.parametrize("kind", [KernelAlarm, LoopAlarm])
def test_is_never_early_on_uvloop(kind: type[KernelAlarm] | type[LoopAlarm]) -> None:
    """Its own timers tick in milliseconds, and may ring before the time that was asked for."""

    async def pace() -> Diary:
        diary = Diary()
        pacer = Pacer(asyncio.get_running_loop())
        pacer._alarm.close()
        pacer._alarm = kind(asyncio.get_running_loop(), pacer._wake)
        start = now()
        for number in range(40):
            pacer.at(start + number * 777_777, diary.action(str(number)))
        await diary.has(40)
        pacer.stop()
        return diary

    diary = uvloop.run(pace())
    assert diary.names == [str(number) for number in range(40)]
    assert min(diary.lags) >= 0


async def test_leaves_no_descriptor() -> None:
    loop = asyncio.get_running_loop()
    gc.collect()
    before = open_descriptors()
    for _ in range(10):
        Pacer(loop).stop()
    assert open_descriptors() == before


@pytest.mark.parametrize("kind", [KernelAlarm, LoopAlarm])
async def test_an_alarm_rings_once_for_the_last_time_that_was_set(
    kind: type[KernelAlarm] | type[LoopAlarm], diary: Diary
) -> None:
    alarm = kind(asyncio.get_running_loop(), lambda: diary.write(0))
    start = now()
    alarm.set(start + 3600 * SECOND)
    alarm.set(start + 2 * MILLISECOND)
    await diary.has(1)
    assert diary.entries[0][1] >= start + 2 * MILLISECOND
    witness = Pacer(asyncio.get_running_loop())
    witness.at(now() + 3 * MILLISECOND, diary.action("witness"))
    await diary.has(2)
    witness.stop()
    assert diary.names == ["", "witness"], "once"
    alarm.set(start - SECOND)
    await diary.has(3)
    alarm.close()
    alarm.close()


async def test_a_kernel_without_timers_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a sandbox may do; ``timerfd_create`` of an unknown clock fails for real."""
    monkeypatch.setattr(os, "O_CLOEXEC", -1)
    with pytest.raises(OSError, match="timerfd_create"):
        KernelAlarm(asyncio.get_running_loop(), lambda: None)
