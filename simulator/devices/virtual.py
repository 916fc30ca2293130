"""The virtual device: a credential, a link and a session, and the manners of a real unit.

It connects, says its telemetry when it is due, keeps its session alive, backs off with full jitter when it
loses its broker, and leaves in an orderly way. While connected it has no task of its own: the pacer and its
link call it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.clock import SECOND, now
from simulator.devices import noise
from simulator.devices.attempt import Attempt
from simulator.devices.device import DeviceState
from simulator.devices.publishing import Publisher
from simulator.link.failure import LinkError
from simulator.link.openssl import LoadedCredential
from simulator.link.resumption import Resumption
from simulator.metrics.outcome import Outcome
from simulator.metrics.sample import Phase
from simulator.mqtt.events import (
    Acknowledged,
    Connected,
    Disconnected,
    Lost,
    Message,
    Pong,
    PublishRefused,
    Refused,
    Subscribed,
    Violated,
)
from simulator.mqtt.packets import Will
from simulator.mqtt.reasons import reason_name
from simulator.mqtt.session import Session
from simulator.scenario.template import fill

if TYPE_CHECKING:
    from simulator.devices.context import FleetContext
    from simulator.identity.credential import Credential
    from simulator.mqtt.events import Event, Token

__all__ = ["VirtualDevice"]

LEAVING = DeviceState.LEAVING  # asked for every message, as CONNECTED is


class VirtualDevice(Publisher):
    """One device of a fleet, with a certificate of its own.

    Raises ValueError where OpenSSL cannot use the credential.
    """

    __slots__ = (
        "_attempt",
        "_attempts",
        "_back_at",
        "_connected_at",
        "_credential",
        "_failures",
        "_index",
        "_pinged_at",
        "_resumption",
        "_returns",
        "_subscribing",
        "_tending",
    )

    def __init__(self, name: str, index: int, credential: Credential | None, context: FleetContext) -> None:
        super().__init__(name, index, new_session(name, context), context)
        self._index = index
        self._credential = LoadedCredential(credential) if credential is not None else None
        if self._credential is not None:
            context.targets[0].tls.try_on(self._credential)
        self._resumption = Resumption() if context.fleet.resumption else None
        self._attempt: Attempt | None = None
        self._subscribing: tuple[int, int] | None = None
        self._attempts = self._failures = 0
        self._pinged_at = self._connected_at = self._back_at = 0
        self._returns: int | None = None
        """When the device is to come back after leaving; None where it is to stay away."""
        self._tending = False
        context.population[DeviceState.IDLE] += 1

    # What stages ask of a device.

    def connect(self, due: int) -> None:
        """Connect; a device that is on its way drops the arrival, one that is connected ignores it."""
        if self.state is DeviceState.CONNECTED:
            return
        self._stays_away = False
        self._report_from(due)
        if self.state in {DeviceState.IDLE, DeviceState.BACKING_OFF}:
            self._begin(due)
        else:
            self._context.connects.due += 1
            self._context.connects.dropped += 1

    def reconnect(self, due: int, *, abrupt: bool) -> None:
        """End the session and connect again; abrupt means as if the power had failed."""
        if self.state is not DeviceState.CONNECTED:
            self.connect(due)
            return
        self._returns = due
        if abrupt:
            self._leave(orderly=False, outcome=Outcome.CUT_OFF)
        else:
            self._leave_when_quiet()

    def disconnect(self, due: int) -> None:
        """End the session in an orderly way and stay away."""
        del due
        self._returns, self._stays_away = None, True
        if self.state is DeviceState.CONNECTED:
            self._leave_when_quiet()
        elif self.state is DeviceState.BACKING_OFF:
            self._set(DeviceState.IDLE)

    def finish(self) -> None:
        """End for good: no more telemetry, no new attempt; one that is under way may still succeed."""
        self._returns = None
        self.disconnect(now())
        if self.state is DeviceState.IDLE:
            self._write_off()

    def abandon(self) -> None:
        """End at once; what is still under way counts as unfinished."""
        if self._attempt is not None:
            phase = self._attempt.link.phase
            self._attempt.refused(LinkError(phase, Outcome.UNFINISHED, "the run ended first"))
        elif self._link is not None:
            self._leave(orderly=True, outcome=Outcome.UNFINISHED)

    # Connecting.

    def _begin(self, due: int) -> None:
        context = self._context
        context.connects.due += 1
        if not context.gate.enter():
            context.connects.dropped += 1
            self._attempts += 1  # so that the next wait is another one
            self._back_off()
            return
        context.connects.started += 1
        self._set(DeviceState.CONNECTING)
        self._attempt = Attempt(context, self, due)
        context.spawn(self._connect(self._attempt), f"connect {self.name}")

    async def _connect(self, attempt: Attempt) -> None:
        context = self._context
        target, source = context.route(self._index, self._attempts)
        self._attempts += 1
        try:
            answered = await attempt.make(target, self._credential, self._resumption, source)
        except LinkError as error:
            error.__traceback__ = None  # leads to the attempt, which has the error: garbage in a cycle
            self._attempt = None
            self._record(error.phase, error.outcome, error.detail, attempt.failed(error))
            self._forget_session()
            self._failures += 1
            self._back_off()
        else:
            self._attempt = None
            self._link = attempt.link
            self._connected_at = answered
            if attempt.broken is None:
                self._established(answered)
            else:
                self.link_lost(attempt.broken)
        finally:
            context.gate.leave()

    def _established(self, answered: int) -> None:
        context, link = self._context, self._link
        if link is None:
            return
        link.phase = Phase.SESSION
        self._failures = self._pinged_at = 0
        self._sent_at = answered
        self._set(DeviceState.CONNECTED)
        if not self._tending:
            self._tending = True
            context.pacer.at(answered + self._tend_every(), self._tend)
        if context.finishing or self._stays_away:
            self._leave_when_quiet()
            return
        if context.subscriptions:
            self._subscribe(answered)

    def _subscribe(self, due: int) -> None:
        names = {"device": self.name, "fleet": self._context.name}
        wanted = [each._replace(filter=fill(each.filter, names)) for each in self._context.subscriptions]
        self._subscribing = (due, now())
        self._session.subscribe(wanted, self._subscribing)
        self._flush()

    # What the link tells.

    def link_opened(self) -> None:
        """Learn that TLS is ready: say CONNECT."""
        if self._attempt is not None:
            self._attempt.opened(self._session)

    def data_received(self, data: bytes) -> None:
        """Take what the broker sent: acknowledgements first of all, since they are what is measured."""
        received = now()
        token = self._session.take_puback(data)
        if token is not None:
            due, started = token
            self._context.publish_ok((due, started, received))
        else:
            self._take(data, received)
        if self.state is LEAVING and self._quiet:
            self._leave_at_last()

    def _take(self, data: bytes, received: int) -> None:
        for event in self._session.receive_data(data):
            if type(event) is not Acknowledged:
                self._handle(event, received)
            elif event.token is not None:  # else it was given up already
                due, started = event.token
                self._context.publish_ok((due, started, received))
        self._flush()

    def link_lost(self, error: LinkError) -> None:
        """Learn that the link is gone."""
        self._broken_off(error.phase, error.outcome, error.detail)

    def _handle(self, event: Event, received: int) -> None:
        match event:
            case Connected():
                if self._attempt is not None:
                    self._attempt.accepted(received)
            case Refused() | Disconnected() | Violated():
                self._ended(event)
            case PublishRefused(token=token, name=name, reason_string=reason):
                self._unanswered(token, name, said(f"the broker answered {name}", reason), received)
            case Lost(token=token):
                self._unanswered(token, Outcome.SESSION_LOST, "the broker kept no session for it", received)
            case Subscribed(codes=codes):
                self._subscribed(codes, received)
            case Pong():
                self._pinged_at = 0
            case Message():
                self._told(event, received)
            case _:
                pass

    def _ended(self, event: Refused | Disconnected | Violated) -> None:
        match event:
            case Refused(name=name, reason_string=reason):
                self._broken_off(
                    Phase.MQTT_CONNECT, name, said(f"the broker answered CONNACK {name}", reason)
                )
            case Disconnected(name=name, reason_string=reason):
                self._broken_off(Phase.SESSION, name, said(f"the broker sent DISCONNECT {name}", reason))
            case Violated(error=error):
                self._flush()
                self._broken_off(Phase.SESSION, Outcome.PROTOCOL_ERROR, str(error))

    def _broken_off(self, phase: Phase, outcome: str, detail: str) -> None:
        """End what the broker, or the network, has ended: an attempt or an established session."""
        if self._attempt is not None:
            step = Phase.MQTT_CONNECT if phase is Phase.SESSION else phase
            self._attempt.refused(LinkError(step, outcome, detail))
        elif self._link is not None:
            self._record(Phase.SESSION, outcome, detail, (self._connected_at, self._connected_at, now()))
            if self.state is DeviceState.LEAVING:
                self._leave(orderly=False)
                return
            self._link.close(orderly=False)
            self._link = None
            self._forget_session()
            self._back_off()

    def _subscribed(self, codes: tuple[int, ...], at: int) -> None:
        if self._subscribing is None:  # given up already
            return
        due, started = self._subscribing
        self._subscribing = None
        if any(code >= 0x80 for code in codes):  # MQTT-3.9.3-2: 0x80 and above are failures
            detail = f"the broker answered SUBACK {', '.join(map(reason_name, codes))}"
            self._record(Phase.SUBSCRIBE, Outcome.SUBSCRIPTION_REFUSED, detail, (due, started, at))
        else:
            self._context.subscribe_ok((due, started, at))

    def _unanswered(self, token: Token, outcome: str, detail: str, at: int) -> None:
        """Record that a publish, or the subscribe, will not be answered any more."""
        if token is None:  # given up already
            return
        phase = Phase.PUBLISH
        if token is self._subscribing:
            self._subscribing, phase = None, Phase.SUBSCRIBE
        due, started = token
        self._record(phase, outcome, detail, (due, started, at))
        if self._context.ear is not None and phase is Phase.PUBLISH:
            self._context.ear.unanswered(self.name, started)

    # What the pacer tells.

    def _tend(self, due: int) -> int | None:
        """Look after an established session: acknowledgements that never came, and the keepalive."""
        if self._link is None:
            self._tending = False
            return None
        at = now()
        if not self._quiet:
            self._give_up_waiting(at - self._context.fleet.ack_timeout, at)
        self._keep_alive(at)
        return due + self._tend_every()

    def _tend_every(self) -> int:
        """Return how often to look: twice a keepalive, which a server may have shortened (5.0)."""
        keepalive = self._session.keepalive * SECOND
        return min(self._context.tend_every, keepalive // 2) if keepalive else self._context.tend_every

    def _give_up_waiting(self, before: int, at: int) -> None:
        for token in self._session.disown(lambda token: token[1] <= before):
            self._unanswered(token, Outcome.ACK_TIMEOUT, "no acknowledgement in time", at)
        if self.state is DeviceState.LEAVING and self._quiet:
            self._leave_at_last()

    def _keep_alive(self, at: int) -> None:
        """Ping after half the keepalive in silence; without an answer the session ends (MQTT 3.1.2.10)."""
        keepalive = self._session.keepalive * SECOND
        if not keepalive or self._link is None:
            return
        if self._pinged_at and at - self._pinged_at >= keepalive:
            self._broken_off(Phase.SESSION, Outcome.KEEPALIVE_TIMEOUT, "the broker did not answer PINGREQ")
        elif not self._pinged_at and at - self._sent_at >= keepalive // 2:
            self._session.ping()
            self._flush()
            self._sent_at = self._pinged_at = at

    def _return(self, due: int) -> None:
        if self.state is DeviceState.BACKING_OFF and due == self._back_at and not self._context.finishing:
            self._context.connects.retries += 1
            self._begin(due)

    # Leaving.

    @property
    def _quiet(self) -> bool:
        """Whether the broker owes no acknowledgement."""
        return self._subscribing is None and not self._session.awaited

    def _leave_when_quiet(self) -> None:
        self._set(DeviceState.LEAVING)
        if self._quiet:
            self._leave(orderly=True)

    def _leave_at_last(self) -> None:
        """Leave after a wait. To come back was not due before: the broker's delay is not our lag."""
        if self._returns is not None:
            self._returns = now()
        self._leave(orderly=True)

    def _leave(self, *, orderly: bool, outcome: str = Outcome.CONNECTION_LOST) -> None:
        """Go by our own will: with DISCONNECT and close_notify where it is orderly, else without a word."""
        link, self._link = self._link, None
        if link is not None:
            if orderly:
                self._session.disconnect()
                link.send(self._session.data_to_send())
            if not link.close(orderly=orderly) and orderly:
                self._cut_short()
        self._forget_session(outcome)
        self._set(DeviceState.IDLE)
        returns, self._returns = self._returns, None
        if returns is not None:
            self._begin(returns)

    def _cut_short(self) -> None:
        """Count a farewell that the broker cannot have heard: it will take the device for lost."""
        detail = "the socket was full, so DISCONNECT was not sent"
        self._record(
            Phase.SESSION, Outcome.UNFINISHED, detail, (self._connected_at, self._connected_at, now())
        )

    def _forget_session(self, outcome: str = Outcome.CONNECTION_LOST) -> None:
        at = now()
        for event in self._session.connection_lost():
            if isinstance(event, Lost):
                self._unanswered(event.token, outcome, "the connection ended before its acknowledgement", at)

    def _back_off(self) -> None:
        """Wait before the next attempt: a random time up to a limit that doubles with each failure."""
        context, reconnect = self._context, self._context.fleet.reconnect
        if not reconnect.enabled or context.finishing or self._stays_away:
            self._set(DeviceState.IDLE)
            return
        self._set(DeviceState.BACKING_OFF)
        limit = min(reconnect.most, reconnect.first << min(self._failures, 32))
        wait = round(noise.share(self._seed, noise.BACK_OFF + self._attempts) * limit)
        self._back_at = now() + wait
        context.pacer.at(self._back_at, self._return)

    # Small change.

    def _write_off(self) -> None:
        """Count what a kept session still owes: the run ends, and nobody comes back for it."""
        at = now()
        for token in self._session.disown(lambda _: True):
            self._unanswered(token, Outcome.UNFINISHED, "the run ended before its acknowledgement", at)

    def _set(self, state: DeviceState) -> None:
        if state is DeviceState.IDLE and self._context.finishing:
            self._write_off()
        self._context.moved(self.state, state)
        self.state = state

    def _flush(self) -> None:
        self._send(self._session.data_to_send())

    def _send(self, data: bytes) -> None:
        link = self._link or (self._attempt.link if self._attempt is not None else None)
        if link is not None and data:
            link.send(data)

    def _record(self, phase: Phase, outcome: str, detail: str, times: tuple[int, int, int]) -> None:
        context, (due, started, finished) = self._context, times
        context.recorder.fail(
            context.name, self.name, phase, outcome, detail, due=due, started=started, finished=finished
        )


def said(what: str, reason: str | None) -> str:
    """Return what the broker did, and why, where it says so (MQTT 5.0, 3.2.2.3.9)."""
    return f"{what}: {reason}" if reason else what


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
