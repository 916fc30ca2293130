"""Who runs the shards of a run: this process itself, or workers elsewhere. The coordinator does not mind."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol, Self

from simulator.clock import MILLISECOND
from simulator.engine.collector import quiet_collector
from simulator.shard import Shard

if TYPE_CHECKING:
    from types import TracebackType

    from simulator.cloud.cloud import Cloud
    from simulator.engine.scribe import Scribe
    from simulator.shard import ShardPlan

__all__ = ["Crew", "Inline"]


class Crew(Protocol):
    """Runs all shards of one plan; entered, it is there, and left, it holds nothing of the plan any more."""

    @property
    def hosts(self) -> tuple[str, ...]:
        """Where each shard runs, in words."""
        ...

    @property
    def head_start(self) -> int:
        """Nanoseconds from when everything is ready to the first due time, so that nothing is late."""
        ...

    @property
    def processes_here(self) -> int | None:
        """How many processes of this machine share all devices; None where other machines have some."""
        ...

    async def __aenter__(self) -> Self:
        """Gather whoever will run the shards; raise a SimulatorError where that fails."""
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let them go."""
        ...

    async def prepare(self, plan: ShardPlan, scribe: Scribe, cloud: Cloud | None) -> None:
        """Hand out the plan; what is measured goes to ``scribe``, what devices say and are told to ``cloud``.

        Raises a SimulatorError where a shard cannot run its part.
        """
        ...

    async def run(self, start: int) -> None:
        """Run all stages from ``start`` (ns of this machine's monotonic clock) to the end."""
        ...

    def stop(self) -> None:
        """End the run early, in an orderly way."""
        ...


class Inline:
    """The one shard of a run that this process is enough for."""

    hosts = ("this process",)
    head_start = 50 * MILLISECOND
    processes_here = 1

    def __init__(self) -> None:
        self._shard: Shard | None = None
        self._quiet = ExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._quiet.close()
        self._shard = None

    async def prepare(self, plan: ShardPlan, scribe: Scribe, cloud: Cloud | None) -> None:
        """Make the shard's devices."""
        self._shard = Shard(
            plan,
            emit=scribe.take,
            on_failure=scribe.fail,
            ears=None if cloud is None else cloud.sides,
            linger=None if cloud is None else cloud.finish_commands,
        )
        await self._shard.prepare()
        self._quiet.enter_context(quiet_collector())  # now: it takes longer than the head start

    async def run(self, start: int) -> None:
        """Run the shard."""
        if self._shard is None:
            raise RuntimeError("a crew runs what it has prepared")
        await self._shard.run(start)

    def stop(self) -> None:
        """Stop the shard."""
        if self._shard is not None:
            self._shard.stop()
