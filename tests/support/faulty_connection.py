"""One connection of the faulty broker, on a thread of its own: TLS and MQTT as the plan wants them.

Whatever it answers goes through its agenda, with the time it is due: so that it goes on reading meanwhile,
and a delay is as long as it was meant to be however many answers wait.
"""

from __future__ import annotations

import re
import ssl
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING

from simulator.clock import MILLISECOND, now
from simulator.errors import ProtocolError
from simulator.mqtt import codec5, codec311
from simulator.mqtt.packets import (
    ConnAck,
    Connect,
    Disconnect,
    PingReq,
    PingResp,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    SubAck,
    Subscribe,
)
from tests.support.faulty_journal import Note
from tests.support.faulty_plan import Step, Then
from tests.support.faulty_wire import CutError, Wire, sleep_until

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator, Mapping

    from simulator.mqtt.packets import Packet
    from tests.support.faulty_journal import Journal
    from tests.support.faulty_plan import Fault, Plan

DUE = re.compile(rb'"due":(\d+)')
STEPS: dict[type, Step] = {
    Connect: Step.CONNECT,
    Subscribe: Step.SUBSCRIBE,
    Publish: Step.PUBLISH,
    PingReq: Step.PING,
}


class EndedError(Exception):
    """The connection is over; the message says who ended it, and how."""


@dataclass(frozen=True, slots=True)
class Treatment:
    """How one connection is to be treated; ``delays`` are drawn from by all connections of a listener."""

    plan: Plan
    delays: Mapping[Step, Iterator[int]]
    context: ssl.SSLContext


class Connection:
    """Serves one client from accept to the end."""

    def __init__(
        self, sock: socket.socket, treatment: Treatment, journal: Journal, *, listener: str, number: int
    ) -> None:
        self._plan = plan = treatment.plan
        self._delays = treatment.delays
        self._journal = journal
        self._listener = listener
        self._number = number
        self._client = ""
        self._wire = Wire(sock, sends=plan.sends_at_most, takes=plan.takes_at_most)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = treatment.context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._codec = codec311
        self._shaken = self._silent = False
        self._flights = iter((Step.HELLO, Step.FINISHED))
        self._buffer = b""
        self._seen: dict[Step, int] = {}
        self._agenda: list[tuple[int, int, Callable[[], None]]] = []
        self._order = count()

    def serve(self) -> None:
        """Serve until the connection is over, and tell how it ended."""
        try:
            self._serve()
        except EndedError as end:
            how = str(end)
        except ConnectionError as error:
            how = f"peer: {type(error).__name__}"
        except ProtocolError as error:
            how = f"peer: {error}"
        self._wire.close()
        self._note("ended", how=how)

    def shut(self) -> None:
        """End it from another thread."""
        with suppress(OSError):
            self._wire.shut()

    def _serve(self) -> None:
        self._note("accepted")
        self._wait_and_answer(Step.ACCEPT, now(), lambda _: None)
        while self._agenda:
            at, _, action = heappop(self._agenda)
            sleep_until(at)
            action()
        while True:
            try:
                self._turn()
            except CutError:
                self._end(self._plan.cut)

    def _turn(self) -> None:
        """Do what is due, or take what comes before that."""
        due = self._agenda[0][0] if self._agenda else None
        if due is not None and due <= now():
            heappop(self._agenda)[2]()
            return
        data = self._wire.read(due)
        if data == b"":
            raise EndedError("peer: closed")
        if data and not self._silent:
            self._take(data, self._wire.heard)

    def _take(self, data: bytes, heard: int) -> None:
        self._incoming.write(data)
        if self._shaken:
            self._read_packets(heard)
        else:
            step = next(self._flights, Step.FINISHED)
            self._wait_and_answer(step, heard, partial(self._shake_hands, step))

    # Answers, delays and faults.

    def _wait_and_answer(self, step: Step, heard: int, answer: Callable[[int], None]) -> None:
        """Answer a step after its delay, unless the plan has its fault here."""
        at = heard + next(self._delays[step], 0) if step in self._delays else heard
        self._seen[step] = nth = self._seen.get(step, 0) + 1
        fault = self._plan.fault
        here = fault is not None and (fault.at, fault.nth) == (step, nth)
        if fault is None or not here or fault.answers:
            self._put(at, partial(answer, heard))
        if fault is not None and here:
            self._put(at + round(fault.wait * MILLISECOND), partial(self._go_wrong, fault))

    def _put(self, at: int, action: Callable[[], None]) -> None:
        heappush(self._agenda, (at, next(self._order), action))

    def _go_wrong(self, fault: Fault) -> None:
        self._note("fault", step=fault.at, said=now())
        self._wire.write(fault.raw)
        if fault.say:
            self._tls.write(fault.say)
            self._wire.write(self._outgoing.read())
        self._end(fault.then)

    def _end(self, then: Then) -> None:
        match then:
            case Then.STAY:
                return
            case Then.CLOSE:
                raise EndedError("broker: closed")
            case Then.RESET:
                self._wire.reset()
                raise EndedError("broker: reset")
            case Then.CLOSE_NOTIFY:
                with suppress(ssl.SSLError):  # it waits for the peer's
                    self._tls.unwrap()
                self._wire.write(self._outgoing.read())
                self._wire.half_close()
            case Then.HALF_CLOSE:
                self._wire.half_close()
        self._silent = True
        self._agenda.clear()

    def _say(self, step: Step, heard: int, data: bytes, due: int = 0) -> None:
        """Send an answer through TLS, and tell when."""
        if data:
            self._tls.write(data)
        self._send(step, heard, due)

    def _send(self, step: Step, heard: int, due: int = 0) -> None:
        pace = round(self._plan.trickle.get(step, 0) * MILLISECOND)
        said = self._wire.write(self._outgoing.read(), pace)
        self._note("answered", step=step, heard=heard, said=said, due=due)

    def _note(self, event: str, step: Step | None = None, *, how: str = "", **times: int) -> None:
        self._journal.take(
            Note(
                event=event,
                at=now(),
                listener=self._listener,
                connection=self._number,
                client=self._client,
                step=step,
                how=how,
                received=self._wire.received,
                sent=self._wire.sent,
                **times,
            )
        )

    # TLS.

    def _shake_hands(self, step: Step, heard: int) -> None:
        try:
            self._tls.do_handshake()
            self._shaken = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self._note("untrusted", step=step, heard=heard, how=error.reason or "")
            self._wire.write(self._outgoing.read())
            self._end(Then.HALF_CLOSE)
            return
        if self._outgoing.pending:
            self._send(step, heard)
        if self._shaken:
            self._read_packets(heard)

    # MQTT.

    def _read_packets(self, heard: int) -> None:
        open_ = self._decrypt()
        if not self._client and len(self._buffer) > 8:
            self._codec = codec5 if b"MQTT\5" in self._buffer[:11] else codec311
        while not self._silent and (found := self._codec.read(self._buffer)):
            packet, size = found
            self._buffer = self._buffer[size:]
            self._on_packet(packet, heard)
        if not open_:
            raise EndedError("peer: close_notify")

    def _decrypt(self) -> bool:
        """Take what TLS has for us; False where it was the last, by close_notify."""
        try:
            while data := self._tls.read(65_536):
                self._buffer += data
        except ssl.SSLWantReadError:
            return True
        except ssl.SSLError as error:
            raise EndedError(f"peer: {error.reason}") from None
        return False

    def _on_packet(self, packet: Packet, heard: int) -> None:
        if isinstance(packet, Connect):
            self._client = packet.client_id
        if isinstance(packet, Disconnect):
            self._note("disconnect", heard=heard)
        reply = reply_to(packet)
        data = self._codec.write(reply) if reply is not None else b""
        step = STEPS.get(type(packet))
        if step is not None:
            due = due_of(packet) if isinstance(packet, Publish) else 0
            self._wait_and_answer(step, heard, lambda came: self._say(step, came, data, due))
        elif isinstance(reply, PubComp):
            self._put(now(), partial(self._say, Step.PUBLISH, heard, data))


def due_of(packet: Publish) -> int:
    """Return when a message was due, by its own words; 0 where it does not say."""
    found = DUE.search(packet.payload)
    return int(found[1]) if found else 0


def reply_to(packet: Packet) -> Packet | None:
    """Return what a good broker answers."""
    match packet:
        case Connect():
            return ConnAck()
        case Publish(packet_id=int(identifier), qos=qos):
            return PubAck(identifier) if qos == 1 else PubRec(identifier)
        case PubRel(identifier):
            return PubComp(identifier)
        case Subscribe(identifier, subscriptions):
            return SubAck(identifier, tuple(one.qos for one in subscriptions))
        case PingReq():
            return PingResp()
    return None
