"""One attempt of a device to connect: TCP, TLS and CONNACK under one deadline, measured when it is over.

It exists for as long as the attempt lasts, so that a device that is connected carries none of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.clock import SECOND, now
from simulator.link.failure import LinkError
from simulator.link.link import Link
from simulator.metrics.outcome import Outcome
from simulator.metrics.sample import Phase
from simulator.scenario.units import format_duration

if TYPE_CHECKING:
    import asyncio

    from simulator.devices.context import FleetContext, Target
    from simulator.link.link import Receiver
    from simulator.link.openssl import LoadedCredential
    from simulator.link.resumption import Resumption
    from simulator.link.source import SourceAddress
    from simulator.mqtt.session import Session

__all__ = ["Attempt"]


class Attempt:
    """Opens a link, and an MQTT session on it. The link's receiver tells it of CONNACK and of refusals."""

    __slots__ = ("_answer", "_context", "_due", "_resumption", "_said_at", "broken", "link")

    def __init__(self, context: FleetContext, receiver: Receiver, due: int) -> None:
        self._context = context
        self._due = due
        self._said_at = 0
        self._resumption: Resumption | None = None
        self._answer: asyncio.Future[int] | None = None
        self.broken: LinkError | None = None
        """What ended the link after CONNACK, but before the device took it over."""
        self.link = Link(context.loop, receiver)

    async def make(
        self,
        target: Target,
        credential: LoadedCredential | None,
        resumption: Resumption | None = None,
        source: SourceAddress | None = None,
    ) -> int:
        """Return when CONNACK arrived; the samples of all phases are recorded then.

        Raises LinkError where the attempt fails; the link is closed then, and ``failed`` is to be called.
        """
        loop, timeout = self._context.loop, self._context.fleet.connect_timeout
        self._answer = loop.create_future()
        self._resumption = resumption
        deadline = loop.call_later(timeout / SECOND, self._give_up, timeout)
        try:
            self.link.start(target.address, target.tls, credential, resumption, source)
            answered = await self._answer
        except BaseException:
            self.link.close(orderly=False)
            raise
        finally:
            deadline.cancel()
        self._measure(answered)
        return answered

    def opened(self, session: Session) -> None:
        """Send CONNECT on the link, which is open now."""
        self.link.phase = Phase.MQTT_CONNECT
        self._said_at = now()
        session.connect()
        self.link.send(session.data_to_send())

    def accepted(self, at: int) -> None:
        """Learn that the broker accepted the session."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(at)

    def refused(self, error: LinkError) -> None:
        """Learn that the broker refused the session, or that the link broke."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
            self._answer.exception()  # seen, also where the attempt is cancelled before it wakes up
        elif self._answer is not None:
            self.broken = error

    def failed(self, error: LinkError) -> tuple[int, int, int]:
        """Record the steps that went well; return when the failed one was due, when it started, and now."""
        finished = now()
        lag = (self.link.tcp_started or finished) - self._due
        if error.phase is Phase.TCP_CONNECT:
            started = self.link.tcp_started or finished
        elif error.phase is Phase.TLS_HANDSHAKE:
            started = self.link.tcp_finished
            self._measure_tcp()
        else:
            started = self._said_at
            self._measure_tcp()
            self._measure_tls(lag)
        return started - lag, started, finished

    def _give_up(self, after: int) -> None:
        if self._answer is not None and not self._answer.done():
            words = f"not done after {format_duration(after)}"
            self.refused(LinkError(self.link.phase, Outcome.TIMEOUT, words))

    def _measure(self, answered: int) -> None:
        """Record the phases of an attempt that succeeded.

        A later phase was due when it started, less what the attempt was late by: so the response time of each
        phase holds the generator's lag, and none holds the time of another.
        """
        lag = self.link.tcp_started - self._due
        self._measure_tcp()
        self._measure_tls(lag)
        self._context.mqtt_ok((self._said_at - lag, self._said_at, answered))
        self._context.connect_ok((self._due, self.link.tcp_started, answered))

    def _measure_tcp(self) -> None:
        self._context.tcp_ok((self._due, self.link.tcp_started, self.link.tcp_finished))

    def _measure_tls(self, lag: int) -> None:
        link, context, resumption = self.link, self._context, self._resumption
        sample = (link.tcp_finished - lag, link.tcp_finished, link.tls_finished)
        if resumption is None:
            context.tls_ok(sample)
            return
        context.resumptions.count(
            again=resumption.before,
            offered=resumption.offered,
            resumed=resumption.resumed,
            cpu=resumption.cpu,
        )
        (context.tls_resumed_ok if resumption.resumed else context.tls_ok)(sample)
