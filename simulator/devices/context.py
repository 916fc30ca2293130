"""What the devices of one fleet share on one shard, so that a device itself stays small."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from simulator.clock import SECOND
from simulator.devices.assignment import endpoint_of, source_of
from simulator.devices.device import DeviceState
from simulator.devices.telemetry import core2, payload_of
from simulator.metrics.sample import Phase
from simulator.metrics.snapshot import ArrivalOf
from simulator.mqtt.options import SessionOptions
from simulator.mqtt.packets import Subscription
from simulator.scenario.kinds import MqttVersion

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine

    from simulator.devices.ear import Ear
    from simulator.link.address import Address
    from simulator.link.source import SourceAddress
    from simulator.link.tls import TlsClient
    from simulator.metrics.recorder import Recorder
    from simulator.pacer import Pacer
    from simulator.scenario.model import Fleet

__all__ = ["FleetContext", "Gate", "Target", "tend_every"]


LARGEST_PACKET = 4 << 20
"""Bytes of a packet that a device takes; a broker that announces more breaks the protocol."""


class Target(NamedTuple):
    """One endpoint of the broker, resolved, with the TLS that is spoken to it.

    ``sources`` are the addresses that connections to it may start from; without any, the kernel chooses.
    """

    address: Address
    tls: TlsClient
    sources: tuple[SourceAddress, ...] = ()


class Gate:
    """Lets a bounded number of connection attempts through at once; the rest are dropped, never delayed."""

    __slots__ = ("limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    def enter(self) -> bool:
        """Take a place; False where none is free."""
        if self.used >= self.limit:
            return False
        self.used += 1
        return True

    def leave(self) -> None:
        """Give the place back."""
        self.used -= 1


class FleetContext:
    """Settings, targets and instruments of one fleet. Devices read it; only its counters change."""

    def __init__(
        self,
        name: str,
        fleet: Fleet,
        *,
        targets: tuple[Target, ...],
        loop: asyncio.AbstractEventLoop,
        pacer: Pacer,
        recorder: Recorder,
        gate: Gate,
        spawn: Callable[[Coroutine[object, object, None], str], None],
        on_idle: Callable[[], None],
        seed: int,
        wall_offset: int,
        ear: Ear | None = None,
        roaming: bool = True,
    ) -> None:
        self.name = name
        self.fleet = fleet
        self.options = options_of(fleet)
        self.targets = targets
        self.roaming = roaming
        """Whether each attempt of a device goes to the next target, as brokers of one cluster are; where they
        share nothing, it keeps to the one that has its session."""
        self.loop = loop
        self.pacer = pacer
        self.recorder = recorder
        self.gate = gate
        self.spawn = spawn
        self.on_idle = on_idle
        """Called when a device has gone while the run finishes."""
        self.seed = seed
        self.wall_offset = wall_offset
        """Add this to a due time to get nanoseconds since 1970 UTC."""
        self.ear = ear
        """Whom devices tell what they published and were told; None where nobody wants to know."""
        self.subscriptions = subscriptions_of(fleet)
        telemetry = fleet.telemetry
        self.topic = telemetry.topic if telemetry else ""
        self.qos = telemetry.qos if telemetry else 0
        self.retain = telemetry.retain if telemetry else False
        self.payload = payload_of(telemetry, name) if telemetry else core2
        self.every = telemetry.every if telemetry else 0
        """Nanoseconds between two messages of a device; 0 where it has no telemetry."""
        self.jitter = round(telemetry.jitter * telemetry.every) if telemetry else 0
        self.population: Counter[DeviceState] = Counter()
        self.finishing = False
        self.tend_every = tend_every(fleet)
        self.connects = recorder.arrivals(name, ArrivalOf.CONNECT)
        self.messages = recorder.arrivals(name, ArrivalOf.MESSAGE)
        self.tcp_ok = recorder.series(name, Phase.TCP_CONNECT).ok.append
        self.tls_ok = recorder.series(name, Phase.TLS_HANDSHAKE).ok.append
        self.tls_resumed_ok = recorder.series(name, Phase.TLS_RESUMPTION).ok.append
        self.resumptions = recorder.resumptions(name)
        self.mqtt_ok = recorder.series(name, Phase.MQTT_CONNECT).ok.append
        self.connect_ok = recorder.series(name, Phase.CONNECT).ok.append
        self.subscribe_ok = recorder.series(name, Phase.SUBSCRIBE).ok.append
        self.publish_ok = recorder.series(name, Phase.PUBLISH).ok.append

    def route(self, index: int, attempt: int) -> tuple[Target, SourceAddress | None]:
        """Return where the index-th device connects to at its attempt, counted from 0, and from where."""
        targets = self.targets
        first = endpoint_of(index, len(targets))
        target = targets[(first + attempt) % len(targets) if self.roaming else first]
        if not target.sources:
            return target, None
        return target, target.sources[source_of(index, len(targets), len(target.sources))]

    def moved(self, before: DeviceState, after: DeviceState) -> None:
        """Learn that a device went from one state to another."""
        self.population[before] -= 1
        self.population[after] += 1
        if self.finishing and after is DeviceState.IDLE:
            self.on_idle()

    @property
    def settled(self) -> bool:
        """Whether the run is ending and every device has gone."""
        return self.finishing and self.population[DeviceState.IDLE] == self.population.total()


def tend_every(fleet: Fleet) -> int:
    """Return how often a device looks after its session, nanoseconds: twice in its shortest patience."""
    return min(fleet.ack_timeout, fleet.keepalive or fleet.ack_timeout) // 2


def subscriptions_of(fleet: Fleet) -> tuple[Subscription, ...]:
    """Return what each device subscribes to, not filled in."""
    wanted = [Subscription(each.topic, each.qos) for each in fleet.subscribe]
    if fleet.commands:
        wanted.append(Subscription(fleet.commands.topic, fleet.commands.qos))
    return tuple(wanted)


def options_of(fleet: Fleet) -> SessionOptions:
    """Return the MQTT session options that all devices of a fleet share."""
    return SessionOptions(
        version=fleet.mqtt,
        clean_start=fleet.clean_start,
        keepalive=fleet.keepalive // SECOND,
        session_expiry=fleet.session_expiry // SECOND,
        receive_maximum=fleet.receive_maximum if fleet.mqtt is MqttVersion.V5 else 65_535,  # 3.1.1 has none
        inflight_maximum=fleet.receive_maximum,
        maximum_packet_size=LARGEST_PACKET,
        user_properties=tuple(fleet.user_properties.items()),
    )
