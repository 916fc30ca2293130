"""The virtual device: a credential, a link and a session, and the manners of a real unit.

It connects, says its telemetry when it is due, keeps its session alive, backs off with full jitter when it
loses its broker, and leaves in an orderly way. While connected it has no task of its own: the pacer and its
link call it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.clock import SECOND, now
from simulator.devices import noise
from simulator.devices.device import DeviceState
from simulator.link.failure import LinkError
from simulator.link.link import Link
from simulator.metrics.outcome import Outcome
from simulator.metrics.sample import Phase
from simulator.mqtt.blocked import CannotSendError
from simulator.mqtt.events import (
    Acknowledged,
    Connected,
    Disconnected,
    Lost,
    Pong,
    PublishRefused,
    Refused,
    Subscribed,
    Violated,
)
from simulator.mqtt.packets import Subscription, Will
from simulator.mqtt.session import Session
from simulator.scenario.template import fill

if TYPE_CHECKING:
    import asyncio

    from simulator.devices.context import FleetContext
    from simulator.identity.credential import Credential
    from simulator.link.link import Opened
    from simulator.mqtt.events import Event

__all__ = ["VirtualDevice"]

TELEMETRY_PHASE, JITTER, BACK_OFF = 1 << 40, 2 << 40, 3 << 40
"""Where the draws of a device begin for each use of chance, so that none repeats another's."""


class VirtualDevice:
    """One device of a fleet, with a certificate of its own."""

    __slots__ = (
        "_attempts",
        "_connected_at",
        "_context",
        "_counter",
        "_credential",
        "_failures",
        "_grid",
        "_index",
        "_link",
        "_pinged_at",
        "_returns",
        "_seed",
        "_sent_at",
        "_session",
        "_task",
        "_telemetry_on",
        "_tending",
        "_topic",
        "_waiter",
        "_waiting",
        "name",
        "state",
    )

    def __init__(self, name: str, index: int, credential: Credential | None, context: FleetContext) -> None:
        self.name = name
        self.state = DeviceState.IDLE
        self._index = index
        self._credential = credential
        self._context = context
        self._seed = noise.seed_of(context.seed, context.name, index)
        self._session = new_session(name, context)
        self._topic = (
            fill(context.fleet.telemetry.topic, {"device": name, "fleet": context.name})
            if context.fleet.telemetry
            else ""
        )
        self._link: Link | None = None
        self._task: asyncio.Task[None] | None = None
        self._waiter: asyncio.Future[int] | None = None
        self._waiting: list[tuple[int, int]] = []
        self._counter = self._attempts = self._failures = 0
        self._grid = self._sent_at = self._pinged_at = self._connected_at = 0
        self._returns: int | None = None
        self._telemetry_on = self._tending = False
        context.population[DeviceState.IDLE] += 1

    # What stages ask of a device

    def connect(self, due: int) -> None:
        """Connect; does nothing where the device is connected or on its way."""
        if self.state in {DeviceState.IDLE, DeviceState.BACKING_OFF}:
            self._begin(due)

    def reconnect(self, due: int, *, abrupt: bool) -> None:
        """End the session and connect again; abrupt means as if the power had failed."""
        if self.state is DeviceState.CONNECTED:
            self._returns = due
            if abrupt:
                self._leave(orderly=False)
            else:
                self._leave_when_quiet()
        else:
            self.connect(due)

    def disconnect(self, due: int) -> None:
        """End the session in an orderly way and stay away."""
        del due
        if self.state is DeviceState.CONNECTED:
            self._leave_when_quiet()
        elif self.state is DeviceState.BACKING_OFF:
            self._set(DeviceState.IDLE)

    def finish(self) -> None:
        """End for good: no more telemetry, no new attempt; then DISCONNECT. An attempt under way may still succeed."""
        self._returns = None
        self.disconnect(now())

    def abandon(self) -> None:
        """End at once; what is still under way counts as unfinished."""
        if self._task is not None and self._link is not None:
            self._link.fail(Outcome.UNFINISHED, "the run ended first")
        elif self.state in {DeviceState.CONNECTED, DeviceState.LEAVING}:
            self._returns = None
            self._leave(orderly=True, outcome=Outcome.UNFINISHED)

    def publish(self, due: int, qos: int | None = None) -> None:
        """Publish one telemetry message, at the telemetry's own QoS unless another is given."""
        context = self._context
        counts = context.messages
        counts.due += 1
        link = self._link
        if self.state is not DeviceState.CONNECTED or link is None:
            counts.offline += 1
            return
        telemetry, payload = context.fleet.telemetry, context.payload
        if telemetry is None or payload is None:
            raise RuntimeError(f"fleet {context.name} has no telemetry")
        if qos is None:
            qos = telemetry.qos
        data = payload(self.name, self._seed, self._counter + 1, due + context.wall_offset)
        started = now()
        token = (due, started)
        try:
            self._session.publish(self._topic, data, qos, telemetry.retain, token)
        except CannotSendError:
            counts.dropped += 1
            return
        self._counter += 1
        link.send(self._session.data_to_send())
        counts.started += 1
        self._sent_at = started
        if qos:
            self._waiting.append(token)
        else:
            context.publish_ok((due, started, now()))

    # Connecting

    def _begin(self, due: int) -> None:
        context = self._context
        context.connects.due += 1
        if not context.gate.enter():
            context.connects.dropped += 1
            self._back_off()
            return
        context.connects.started += 1
        self._set(DeviceState.CONNECTING)
        self._task = context.spawn(self._attempt(due), f"connect {self.name}")

    async def _attempt(self, due: int) -> None:
        context = self._context
        link = self._link = Link(context.loop, self)
        timeout = context.fleet.connect_timeout
        deadline = context.loop.call_later(
            timeout / 1e9, link.fail, Outcome.TIMEOUT, f"no answer within {timeout / 1e9:g} s"
        )
        address, tls = context.targets[(self._index + self._attempts) % len(context.targets)]
        self._attempts += 1
        said_at = 0
        try:
            opened = await link.open(address, tls, self._credential)
            self._waiter = context.loop.create_future()
            link.phase = Phase.MQTT_CONNECT
            said_at = now()
            self._session.connect()
            link.send(self._session.data_to_send())
            answered = await self._waiter
        except LinkError as error:
            self._refused(error, due, link, said_at)
        else:
            self._measure(due, opened, said_at, answered)
            self._established(answered)
        finally:
            deadline.cancel()
            context.gate.leave()
            self._waiter = self._task = None

    def _measure(self, due: int, opened: Opened, said_at: int, answered: int) -> None:
        """Record the phases of a connect that succeeded.

        A later phase was due when it started, less what the attempt was late by: so response time holds the
        generator's lag in every phase, and no phase holds the time of another.
        """
        context, lag = self._context, opened.tcp_started - due
        context.tcp_ok((due, opened.tcp_started, opened.tcp_finished))
        context.tls_ok((opened.tcp_finished - lag, opened.tcp_finished, opened.tls_finished))
        context.mqtt_ok((said_at - lag, said_at, answered))
        context.connect_ok((due, opened.tcp_started, answered))

    def _refused(self, error: LinkError, due: int, link: Link, said_at: int) -> None:
        finished = now()
        starts = {Phase.TCP_CONNECT: link.tcp_started, Phase.TLS_HANDSHAKE: link.tcp_finished}
        started = starts.get(error.phase, said_at) or finished
        lag = (link.tcp_started or finished) - due
        self._record(error.phase, error.outcome, error.detail, started - lag, started, finished)
        self._drop_session()
        self._failures += 1
        self._back_off()

    def _established(self, answered: int) -> None:
        context = self._context
        if self._link is None:
            return
        self._link.phase = Phase.SESSION
        self._failures = 0
        self._sent_at = self._connected_at = answered
        self._pinged_at = 0
        self._set(DeviceState.CONNECTED)
        if not self._tending:
            self._tending = True
            context.pacer.at(answered + context.tend_every, self._tend)
        if context.finishing:
            self._leave_when_quiet()
            return
        if context.fleet.subscribe:
            self._subscribe(answered)
        if context.fleet.telemetry and not self._telemetry_on:
            self._telemetry_on = True
            self._grid = answered + round(
                noise.share(self._seed, TELEMETRY_PHASE) * context.fleet.telemetry.every
            )
            context.pacer.at(self._grid, self._telemetry_due)

    def _subscribe(self, due: int) -> None:
        names = {"device": self.name, "fleet": self._context.name}
        wanted = [Subscription(fill(each.topic, names), each.qos) for each in self._context.fleet.subscribe]
        self._session.subscribe(wanted, (due, now()))
        self._flush()

    # While connected

    def data_received(self, data: bytes) -> None:
        """Take what the broker sent: acknowledgements first of all, since they are what is measured."""
        received = now()
        waiting = self._waiting
        for event in self._session.receive_data(data):
            if type(event) is Acknowledged:
                token = event.token
                if token in waiting:
                    waiting.remove(token)
                    self._context.publish_ok((*token, received))
            else:
                self._handle(event, received)
        self._flush()
        if self.state is DeviceState.LEAVING and not waiting:
            self._leave(orderly=True)

    def link_lost(self, error: LinkError) -> None:
        """Learn that the link is gone."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)
        elif self.state in {DeviceState.CONNECTED, DeviceState.LEAVING}:
            self._end_session(error.outcome, error.detail)

    def _handle(self, event: Event, received: int) -> None:
        match event:
            case Connected():
                if self._waiter is not None and not self._waiter.done():
                    self._waiter.set_result(received)
            case Refused(name=name, reason_string=reason):
                self._refuse(name, reason or f"the broker answered CONNACK {name}")
            case Disconnected(name=name, reason_string=reason):
                self._break_off(name, reason or f"the broker sent DISCONNECT {name}")
            case Violated(error=error):
                self._flush()
                self._break_off(Outcome.PROTOCOL_ERROR, str(error))
            case PublishRefused(token=token, name=name, reason_string=reason):
                self._unpublished(token, name, reason or f"the broker answered {name}", received)
            case Lost(token=token):
                self._unpublished(
                    token, Outcome.SESSION_LOST, "the broker kept no session to deliver it in", received
                )
            case Subscribed(token=token, codes=codes):
                self._subscribed(token, codes, received)
            case Pong():
                self._pinged_at = 0
            case _:  # messages from the broker are acknowledged by the session
                pass

    def _refuse(self, name: str, reason: str) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(LinkError(Phase.MQTT_CONNECT, name, reason))

    def _break_off(self, outcome: str, reason: str) -> None:
        """End a session that the broker has ended, or has broken."""
        if self._waiter is not None:
            self._refuse(outcome, reason)
        else:
            self._end_session(outcome, reason)

    def _unpublished(self, token: object, outcome: str, detail: str, at: int) -> None:
        if token in self._waiting:
            due, started = self._waiting.pop(self._waiting.index(token))
            self._record(Phase.PUBLISH, outcome, detail, due, started, at)

    def _subscribed(self, token: object, codes: tuple[int, ...], at: int) -> None:
        due, started = token
        if any(code >= 0x80 for code in codes):
            self._record(
                Phase.SUBSCRIBE, Outcome.SUBSCRIPTION_REFUSED, f"SUBACK codes {codes}", due, started, at
            )
        else:
            self._context.subscribe_ok((due, started, at))

    def _telemetry_due(self, due: int) -> int | None:
        context = self._context
        telemetry = context.fleet.telemetry
        if telemetry is None or context.finishing or self.state is DeviceState.IDLE:
            self._telemetry_on = False
            return None
        self.publish(due)
        self._grid += telemetry.every
        if not telemetry.jitter:
            return self._grid
        swing = (2 * noise.share(self._seed, JITTER + self._grid) - 1) * telemetry.jitter
        return self._grid + round(swing * telemetry.every)

    def _tend(self, due: int) -> int | None:
        """Look after an established session: acknowledgements that never came, and the keepalive."""
        if self.state not in {DeviceState.CONNECTED, DeviceState.LEAVING} or self._link is None:
            self._tending = False
            return None
        at = now()
        self._give_up_waiting(at - self._context.fleet.ack_timeout, at)
        self._keep_alive(at)
        return due + self._context.tend_every

    def _give_up_waiting(self, before: int, at: int) -> None:
        while self._waiting and self._waiting[0][1] <= before:
            due, started = self._waiting.pop(0)
            self._record(Phase.PUBLISH, Outcome.ACK_TIMEOUT, "no acknowledgement in time", due, started, at)
        if self.state is DeviceState.LEAVING and not self._waiting:
            self._leave(orderly=True)

    def _keep_alive(self, at: int) -> None:
        """Ping after half the keepalive in silence, and take a ping that is not answered as the end (MQTT 3.1.2.10)."""
        keepalive = self._session.keepalive * SECOND
        if not keepalive or self.state is not DeviceState.CONNECTED:
            return
        if self._pinged_at and at - self._pinged_at >= keepalive:
            self._end_session(Outcome.KEEPALIVE_TIMEOUT, "the broker did not answer PINGREQ")
        elif not self._pinged_at and at - self._sent_at >= keepalive // 2:
            self._session.ping()
            self._flush()
            self._sent_at = self._pinged_at = at

    # Leaving

    def _leave_when_quiet(self) -> None:
        self._set(DeviceState.LEAVING)
        if not self._waiting:
            self._leave(orderly=True)

    def _leave(self, *, orderly: bool, outcome: str = Outcome.CONNECTION_LOST) -> None:
        """Go by our own will: with DISCONNECT and close_notify where it is orderly, else without a word."""
        link, self._link = self._link, None
        if link is not None and orderly:
            self._session.disconnect()
            link.send(self._session.data_to_send())
        if link is not None:
            link.close(orderly=orderly)
        self._drop_session(outcome)
        self._set(DeviceState.IDLE)
        returns, self._returns = self._returns, None
        if returns is not None:
            self._begin(returns)

    def _end_session(self, outcome: str, detail: str) -> None:
        """Go because the session is over, whoever ended it."""
        at = now()
        self._record(Phase.SESSION, outcome, detail, self._connected_at, self._connected_at, at)
        link, self._link = self._link, None
        if link is not None:
            link.close(orderly=False)
        self._drop_session()
        self._back_off()

    def _drop_session(self, outcome: str = Outcome.CONNECTION_LOST) -> None:
        at = now()
        for event in self._session.connection_lost():
            if isinstance(event, Lost):
                self._unpublished(event.token, outcome, "the connection ended before the acknowledgement", at)

    def _back_off(self) -> None:
        """Wait before the next attempt: a random time up to a limit that doubles with each failure (full jitter)."""
        context, reconnect = self._context, self._context.fleet.reconnect
        self._link = None
        if not reconnect.enabled or context.finishing:
            self._set(DeviceState.IDLE)
            return
        self._set(DeviceState.BACKING_OFF)
        limit = min(reconnect.most, reconnect.first << min(self._failures, 32))
        wait = round(noise.share(self._seed, BACK_OFF + self._attempts) * limit)
        context.pacer.at(now() + wait, self._return)

    def _return(self, due: int) -> None:
        if self.state is DeviceState.BACKING_OFF and not self._context.finishing:
            self._begin(due)

    def _set(self, state: DeviceState) -> None:
        population = self._context.population
        population[self.state] -= 1
        population[state] += 1
        self.state = state
        if state is DeviceState.IDLE and self._context.finishing:
            self._context.on_idle()

    def _flush(self) -> None:
        data = self._session.data_to_send()
        if data and self._link is not None:
            self._link.send(data)

    def _record(self, phase: Phase, outcome: str, detail: str, due: int, started: int, finished: int) -> None:
        context = self._context
        context.recorder.fail(
            context.name, self.name, phase, outcome, detail, due=due, started=started, finished=finished
        )


def new_session(name: str, context: FleetContext) -> Session:
    """Return the MQTT session of one device, its templates filled in."""
    fleet, names = context.fleet, {"device": name, "fleet": context.name}
    will = fleet.will
    return Session(
        context.options,
        fill(fleet.client_id, names),
        will=Will(fill(will.topic, names), fill(will.payload, names).encode(), will.qos, will.retain)
        if will
        else None,
        username=fill(fleet.username, names) if fleet.username is not None else None,
        password=fill(fleet.password, names).encode() if fleet.password is not None else None,
    )
