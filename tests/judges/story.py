"""One run that does a little of everything, heard by aiomqtt and captured for tshark."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from simulator.engine.coordinator import Coordinator
from simulator.identity import pem
from simulator.identity.store import FleetStore
from simulator.link.key_log import KeyLog
from simulator.scenario.loader import load
from tests.brokers.wire import Papers
from tests.engine.watching import Witness
from tests.support.capture import Capture
from tests.support.dissector import Dissection, dissect
from tests.support.observer import Observer, observing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path
    from ssl import SSLContext

    from simulator.brokers.managed import ManagedBroker
    from simulator.identity.authority import Authority
    from simulator.metrics.sample import Phase
    from simulator.report.figures import Report
    from simulator.scenario.kinds import BrokerKind
    from simulator.scenario.loader import LoadedScenario
    from tests.support.observer import Heard

DEVICES = 2
LEVELS = (0, 1, 2)

FLEET = """
[fleet.{fleet}]
devices = {devices}
mqtt = "{mqtt}"
tls = "{tls}"
store = "{fleet}.fleet"
keepalive = "1s"
clean_start = false
username = "{{device}}"
password = "secret"
subscribe = [
  {{ topic = "commands/0/{{device}}", qos = 0 }},
  {{ topic = "commands/1/{{device}}", qos = 1 }},
  {{ topic = "commands/2/{{device}}", qos = 2 }},
]
will = {{ topic = "gone/{{device}}", payload = "{{fleet}}", qos = 1, retain = true }}
telemetry = {{ topic = "fleet/{{device}}", every = "1h", retain = true, payload = {{ size = "200B" }} }}
{only_5}
"""
ONLY_5 = 'session_expiry = "60s"\nuser_properties = { site = "north", line = "7" }'


@dataclass(frozen=True)
class Spoken:
    """A fleet's versions of MQTT and of TLS."""

    mqtt: str
    tls: str

    @property
    def fleet(self) -> str:
        return f"mqtt{self.mqtt}-tls{self.tls}".replace(".", "")

    @property
    def devices(self) -> list[str]:
        return [f"{self.fleet}-{number:05}" for number in range(1, DEVICES + 1)]


@dataclass(frozen=True)
class Story:
    """What our side says of the run, what the observer heard and what it was told later, and the wire."""

    kind: BrokerKind
    spoken: Sequence[Spoken]
    report: Report
    heard: list[Heard]
    kept: list[Heard]
    wire: Dissection
    key_log: list[str]

    @property
    def devices(self) -> list[str]:
        return [device for each in self.spoken for device in each.devices]

    @property
    def telemetry(self) -> list[tuple[tuple[str, int], int]]:
        """Device and counter, and QoS, of each message that the observer heard, in order."""
        return [(counter_of(each), each.qos) for each in self.heard if each.topic.matches("fleet/#")]

    def ok(self, phase: Phase) -> int:
        """Return how many successes our side has counted in a phase."""
        return sum(
            each.outcomes["ok"]
            for fleet in self.report.fleets
            for each in fleet.phases
            if each.phase is phase
        )


def counter_of(message: Heard) -> tuple[str, int]:
    said = json.loads(bytes(message.payload))
    return said["device"], said["n"]


def tell(broker: ManagedBroker, authority: Authority, spoken: Sequence[Spoken], folder: Path) -> Story:
    """Run it all against a broker that trusts the authority."""
    loaded = prepared(broker, authority, spoken, folder)
    context = Papers.issue(authority, "observer", folder).context(broker)
    port = broker.endpoints[0].port
    capture, keys = folder / "capture.pcapng", folder / "keys.log"
    with KeyLog(keys) as key_log, Capture(port, capture):
        coordinator = Coordinator(loaded, folder / "run", Witness(), key_log)
        devices = [device for each in spoken for device in each.devices]
        report, heard, kept = asyncio.run(live(coordinator, devices, broker, context))
    wire = dissect(capture, port, keys)
    return Story(broker.kind, spoken, report, heard, kept, wire, keys.read_text().splitlines())


def prepared(
    broker: ManagedBroker, authority: Authority, spoken: Sequence[Spoken], folder: Path
) -> LoadedScenario:
    for each in spoken:
        with FleetStore.create(folder / f"{each.fleet}.fleet", authority) as store:
            store.issue(DEVICES, prefix=f"{each.fleet}-")
    (folder / "ca.pem").write_text(pem.certificates(broker.trust))
    (folder / "story.toml").write_text("\n".join(scenario(spoken)))
    trust = f'broker.trust=["{folder / "ca.pem"}"]'
    return load(folder / "story.toml", overrides=[trust], broker=str(broker.endpoints[0]))


def scenario(spoken: Sequence[Spoken]) -> Iterator[str]:
    yield 'title = "A little of everything"\nlimits.lag = "10s"'
    for each in spoken:
        only_5 = ONLY_5 if each.mqtt == "5.0" else ""
        yield FLEET.format(fleet=each.fleet, devices=DEVICES, mqtt=each.mqtt, tls=each.tls, only_5=only_5)
    fleets = [each.fleet for each in spoken]
    for fleet in fleets:
        yield stage(f"connect {fleet}", f'connect = {{ fleet = "{fleet}", rate = "100/s" }}')
    for fleet in fleets:
        for qos in LEVELS:
            action = f'publish = {{ fleet = "{fleet}", rate = "40/s", qos = {qos} }}'
            yield stage(f"publish {fleet} {qos}", action, 'duration = "150ms"')
    yield stage("published", 'duration = "300ms"')
    for manner in ("false", "true"):
        for fleet in fleets:
            action = f'reconnect = {{ fleet = "{fleet}", within = "50ms", abrupt = {manner} }}'
            yield stage(f"reconnect {fleet} {manner}", action)
        yield stage(f"reconnected {manner}", 'duration = "300ms"')


def stage(name: str, *lines: str) -> str:
    return "\n".join(("[[stage]]", f'name = "{name}"', *lines))


async def live(
    coordinator: Coordinator, devices: Sequence[str], broker: ManagedBroker, context: SSLContext
) -> tuple[Report, list[Heard], list[Heard]]:
    """Command the devices before they come, and again when each has spoken; hear everything to its end.

    Return the report, what was heard, and what somebody gets who comes when all is over.
    """
    async with observing(broker, context, "fleet/#", "gone/#", "end") as observer:
        await command(observer, devices, retain=True)
        with coordinator:
            async with asyncio.TaskGroup() as group:
                running = group.create_task(coordinator.run(), name="run")
                await observer.hears(lambda heard: len({str(each.topic) for each in heard}) == len(devices))
                await command(observer, devices, retain=False)
        await observer.says("end", "")
        await observer.hears(lambda heard: str(heard[-1].topic) == "end")
    async with observing(broker, context, "fleet/#", "gone/#") as late:
        kept = await late.hears(lambda heard: len(heard) == 2 * len(devices))
    return running.result(), observer.heard[:-1], kept


async def command(observer: Observer, devices: Iterable[str], *, retain: bool) -> None:
    for device in devices:
        for qos in LEVELS:
            topic, payload = order(qos, device, retain=retain)
            await observer.says(topic, payload, qos, retain=retain)


def order(qos: int, device: str, *, retain: bool) -> tuple[str, str]:
    """Return the topic and the payload of a command, which is not like any other."""
    return f"commands/{qos}/{device}", f"{'retained' if retain else 'live'} {qos} {device}"
