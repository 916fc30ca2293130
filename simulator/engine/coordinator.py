"""The coordinator: owns one run from its scenario to its report.

It opens fleets, broker and run folder, lets the crew run the shards, writes down what comes of it as it
comes, and closes everything in the opposite order, however the run ends. It must not know how a run is shown,
nor of signals, nor where shards run.
"""

from __future__ import annotations

import asyncio
import platform
from contextlib import AsyncExitStack, ExitStack, contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Self

from simulator.brokers.launch import open_broker
from simulator.brokers.permission import objections
from simulator.clock import SECOND, now, wall
from simulator.engine.crew import Inline
from simulator.engine.descriptors import check_broker_descriptors, raise_descriptor_limit
from simulator.engine.fleets import Fleets
from simulator.engine.passport import issue_passport, open_cloud
from simulator.engine.ports import check_local_ports
from simulator.engine.scribe import Scribe
from simulator.engine.together import first_of
from simulator.errors import BrokerError, FleetError, RunFolderError, ScenarioError
from simulator.link.address import addresses
from simulator.link.openssl import openssl_version
from simulator.report.folder import RunFolder, folder_name
from simulator.report.run import Run, RunStatus, Stage
from simulator.report.summary import summarize
from simulator.scenario.redaction import without_passwords
from simulator.shard import ShardPlan
from simulator.timetable import timetable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

    from simulator.brokers.broker import Broker, BrokerUsage
    from simulator.cloud.cloud import Cloud
    from simulator.engine.crew import Crew
    from simulator.engine.passport import Passport
    from simulator.engine.watcher import Watcher
    from simulator.link.key_log import KeyLog
    from simulator.report.figures import Report
    from simulator.scenario.loader import LoadedScenario
    from simulator.scenario.model import Scenario
    from simulator.timetable import StageTimes

__all__ = ["Coordinator"]


class Coordinator:
    """Runs one scenario once.

    >>> with Coordinator(loaded, None, watcher) as coordinator:
    ...     report = asyncio.run(coordinator.run())

    Entering it does what blocks, and can take minutes: it opens the fleets and issues what they lack. That is
    outside the event loop, so that Ctrl-C ends it at once. TLS secrets go to ``key_log`` where there is one.
    By default this process runs all devices, in one shard.
    """

    def __init__(
        self,
        loaded: LoadedScenario,
        out: Path | None,
        watcher: Watcher,
        key_log: KeyLog | None = None,
        crew: Crew | None = None,
    ) -> None:
        self._loaded = loaded
        self._key_log = key_log
        self._watcher = watcher
        self._stages: tuple[StageTimes, ...] = ()
        self._stack = ExitStack()
        self._fleets = Fleets(loaded, watcher)
        self._crew: Crew = crew or Inline()
        self._passport: Passport | None = None
        self._status = RunStatus.COMPLETE
        self._detail = ""
        self.trouble = ""
        """Why the run could not be saved, in a sentence; empty where it was."""
        self.path = out if out is not None else unused(Path("runs") / folder_name(loaded.name, wall()))

    def __enter__(self) -> Self:
        """Get ready, what is quick to fail first; raise a SimulatorError where the run cannot begin."""
        scenario = self._loaded.scenario
        ask_permission(scenario)
        if self._crew.processes_here is not None:
            raise_descriptor_limit(scenario.largest_share(self._crew.processes_here))
            self._warn(check_local_ports(scenario))
        check_broker_descriptors(scenario)
        self._stages = timetable(scenario)
        with ExitStack() as stack:
            stack.enter_context(made_folder(self.path))
            stack.enter_context(self._fleets)
            self._broker = open_broker(scenario.broker, folder=self._loaded.folder)
            self._warn(self._broker.look())
            self._fleets.issue()
            passport = self._passport = issue_passport(self._loaded, self._fleets.authority)
            trust = (*self._fleets.trust_anchors, *(passport.trust if passport else ()))
            self._broker.admit(trust, self._fleets.crls())
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    async def run(self) -> Report:
        """Run the scenario to its end, or until ``stop``, and return the report.

        Raises a SimulatorError where the run could not begin: workers that are not there, a broker that does
        not start or cannot be reached, a folder that cannot be written. When cancelled, what was measured
        until then is saved.
        """
        broker = self._broker
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._crew)
            stack.push_async_callback(broker.stop)
            await broker.start()
            self._watcher.broker(broker.description)
            return await self._run_against(broker)

    def _warn(self, sentences: Iterable[str]) -> None:
        for sentence in sentences:
            self._watcher.warning(sentence)

    def broker_usage(self) -> BrokerUsage | None:
        """Return what the broker's process has used so far; None where it does not run, or is not ours."""
        return self._broker.usage()

    def stop(self) -> None:
        """End the run early, in an orderly way; what was measured until then is reported."""
        self._end(RunStatus.INTERRUPTED, "interrupted by the user")
        self._watcher.stopping()

    def _end(self, status: RunStatus, detail: str) -> None:
        if self._status is RunStatus.COMPLETE:  # what came first is why it ended
            self._status, self._detail = status, detail
        self._crew.stop()

    async def _run_against(self, broker: Broker) -> Report:
        members = self._fleets.members()
        plan = ShardPlan(
            self._loaded.scenario,
            members,
            broker.endpoints,
            broker.trust,
            broker.server_name,
            key_log=self._key_log,
        )
        with RunFolder.create(
            self.path, self._describe(broker), without_passwords(self._loaded.text)
        ) as folder:
            scribe = Scribe(folder, self._watcher, self._give_up_saving)
            cloud = open_cloud(plan, self._passport, scribe)
            async with AsyncExitStack() as stack:
                if cloud is not None:
                    await stack.enter_async_context(cloud)
                await self._crew.prepare(plan, scribe, cloud)
                self._watcher.started(self._stages, len(self._crew.hosts))
                if self._status is RunStatus.INTERRUPTED:
                    self._crew.stop()
                try:
                    await self._run_crew(broker, scribe, cloud)
                except asyncio.CancelledError:
                    self._end(RunStatus.INTERRUPTED, "interrupted by the user")
                    self._close(folder, scribe, cloud)
                    raise
                return self._close(folder, scribe, cloud)

    def _give_up_saving(self, trouble: str) -> None:
        """End a run that can no longer be saved; its figures are still reported."""
        self.trouble = trouble
        self._end(RunStatus.FAILED, trouble)

    def _close(self, folder: RunFolder, scribe: Scribe, cloud: Cloud | None) -> Report:
        scribe.finish()
        self._watcher.finished()
        try:
            if cloud is not None:
                folder.observe(cloud.hearing(), cloud.devices())
            folder.close(self._status, self._detail)
        except RunFolderError as error:
            self._give_up_saving(str(error))
        return summarize(folder.tally)

    async def _run_crew(self, broker: Broker, scribe: Scribe, cloud: Cloud | None) -> None:
        start = now() + self._crew.head_start
        try:
            async with asyncio.TaskGroup() as group:
                beside = [
                    group.create_task(self._watch(broker), name="broker watch"),
                    group.create_task(self._outages(broker, start), name="outages"),
                    group.create_task(self._revocations(broker, start), name="revocations"),
                    group.create_task(scribe.write(), name="scribe"),
                ]
                if cloud is not None:
                    beside.append(group.create_task(cloud.run(self._stages, start), name="cloud"))
                await self._crew.run(start)
                if cloud is not None:
                    await cloud.drain()
                    cloud.settle()
                for task in beside:
                    task.cancel()
        except BaseExceptionGroup as errors:
            raise first_of(errors) from errors

    async def _watch(self, broker: Broker) -> None:
        """End the run where the broker dies by itself: what follows would measure nothing."""
        try:
            await broker.wait_failed()
        except BrokerError as error:
            self._end(RunStatus.FAILED, str(error))

    async def _outages(self, broker: Broker, start: int) -> None:
        """Take the broker away and bring it back as the stages say."""
        for stage in self._stages:
            if stage.outage is not None:
                gone, back = stage.outage
                await asyncio.sleep((start + gone - now()) / SECOND)
                await broker.stop()
                await asyncio.sleep((start + back - now()) / SECOND)
                try:
                    await broker.start()
                except BrokerError as error:
                    self._end(RunStatus.FAILED, str(error))
                    return

    async def _revocations(self, broker: Broker, start: int) -> None:
        """Revoke certificates as the stages say, and give the broker the new lists."""
        for number, stage in enumerate(self._stages):
            if stage.revoke is not None:
                seed = f"{self._loaded.scenario.seed}/{number}/revoke"
                await asyncio.sleep((start + stage.start - now()) / SECOND)
                fleet, share = stage.revoke.fleet, stage.revoke.share
                try:
                    crls = await asyncio.to_thread(self._fleets.revoke, fleet, share, seed)
                    await broker.take_crls(crls)
                except (BrokerError, FleetError) as error:
                    self._end(RunStatus.FAILED, str(error))
                    return

    def _describe(self, broker: Broker) -> Run:
        scenario = self._loaded.scenario
        return Run(
            scenario=self._loaded.name,
            title=scenario.title,
            changes=self._loaded.changes,
            seed=scenario.seed,
            started=wall(),
            broker=broker.description,
            endpoints=tuple(str(endpoint) for endpoint in broker.endpoints),
            fleets={name: fleet.devices for name, fleet in scenario.fleets.items()},
            stages=tuple(as_stage(stage) for stage in self._stages),
            thresholds={each.measure: each.limit for each in scenario.thresholds},
            lag_limit=scenario.limits.lag,
            hosts=self._crew.hosts,
            versions=versions(),
            machine=machine(),
        )


def ask_permission(scenario: Scenario) -> None:
    """Raise ScenarioError where the broker may not be loaded like this; nothing is connected to find out."""
    found = {endpoint: addresses(endpoint) for endpoint in scenario.broker.endpoints}
    if wrong := objections(scenario, found):
        raise ScenarioError(wrong)


@contextmanager
def made_folder(path: Path) -> Iterator[None]:
    """Make the run folder; take it away again where nothing was written into it."""
    existed = path.exists()
    RunFolder.check(path)
    try:
        yield
    finally:
        if not existed:
            with suppress(OSError):  # it holds a run
                path.rmdir()


def unused(path: Path) -> Path:
    """Return the path, or one with a number behind it where another run of the same second has it."""
    taken = iter(range(2, 1000))
    chosen = path
    while chosen.exists():
        chosen = path.with_name(f"{path.name}-{next(taken)}")
    return chosen


def as_stage(stage: StageTimes) -> Stage:
    """Return a stage as the run folder keeps it."""
    return Stage(stage.name, stage.start, stage.end)


def versions() -> dict[str, str]:
    """Return what the run was made with."""
    return {
        "simulator": version("mqtt-fleet-simulator"),
        "python": platform.python_version(),
        "openssl": openssl_version(),
        "uvloop": version("uvloop"),
    }


def machine() -> dict[str, str]:
    """Return what the run was made on."""
    return {"system": platform.platform(), "processor": platform.machine()}
