"""The scribe: writes down what shards send, a little at a time, between what the loop has to do for devices.

To encode and add up a snapshot takes some milliseconds. Done in one go on the loop that measures, that would
show in the latencies of whatever waits meanwhile, once a second.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

from simulator.errors import RunFolderError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from simulator.engine.watcher import Watcher
    from simulator.metrics.sample import Failure
    from simulator.metrics.snapshot import Snapshot
    from simulator.report.folder import RunFolder
    from simulator.report.run import Loss

__all__ = ["Scribe"]


class Scribe:
    """Writes into the run folder and tells the watcher; ``on_trouble`` learns why it can write no more."""

    def __init__(self, folder: RunFolder, watcher: Watcher, on_trouble: Callable[[str], None]) -> None:
        self._folder = folder
        self._watcher = watcher
        self._on_trouble = on_trouble
        self._waiting: deque[Snapshot] = deque()
        self._more = asyncio.Event()
        self._steps = self._write_all()
        self._over = False

    def take(self, snapshot: Snapshot) -> None:
        """Take a snapshot, to be written when there is time."""
        if not self._over:
            self._waiting.append(snapshot)
            self._more.set()

    def fail(self, failure: Failure) -> None:
        """Write a failure down at once; after the end, links that break only now are nobody's business."""
        if not self._over:
            with self._saving():
                self._folder.fail(failure)

    def lose(self, loss: Loss) -> None:
        """Write down at once that a shard was lost."""
        if not self._over:
            with self._saving():
                self._folder.lose(loss)
            self._watcher.lost(loss.shard, len(self._folder.tally.run.hosts), loss.reason)

    async def write(self) -> None:
        """Write whatever comes, until cancelled."""
        while True:
            await self._more.wait()
            self._more.clear()
            for more in self._steps:
                if not more:
                    break
                await asyncio.sleep(0)

    def finish(self) -> None:
        """Write what is left, and take nothing more."""
        self._over = True
        while next(self._steps):
            pass

    def _write_all(self) -> Iterator[bool]:
        """Yield True after each step, and False where there is nothing to write; never end."""
        while True:
            while not self._waiting:
                yield False
            snapshot = self._waiting.popleft()
            with self._saving():
                for _ in self._folder.write_in_steps(snapshot):
                    yield True
            self._watcher.measured(snapshot, self._folder.tally.totals)
            yield True

    @contextmanager
    def _saving(self) -> Iterator[None]:
        try:
            yield
        except RunFolderError as error:
            self._on_trouble(str(error))
