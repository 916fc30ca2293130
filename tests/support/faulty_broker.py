"""A broker that does wrong on purpose and tells exactly what it did, in a process of its own.

    python -m tests.support.faulty_broker

It takes commands as JSON lines on stdin (``faulty_plan``) and tells what happens as JSON lines on stdout
(``faulty_journal``); it ends with its stdin. Each connection has a thread that waits in the kernel, so
nothing spins, and a wait ends within tens of microseconds of its time.
"""

from __future__ import annotations

import ctypes
import gc
import os
import socket
import sys
import threading
from contextlib import suppress
from functools import partial
from itertools import count, cycle
from typing import TYPE_CHECKING

from simulator.clock import SECOND, now
from simulator.identity.credential import Credential
from tests.support.faulty_connection import Connection, Treatment
from tests.support.faulty_journal import Journal, Note
from tests.support.faulty_plan import (
    COMMAND,
    Certificates,
    Command,
    Door,
    Freeze,
    Identify,
    Listen,
    Mark,
    Shut,
    Uncrowd,
)
from tests.support.faulty_wire import sleep_until, stamp_arrivals
from tests.support.tls import server_context

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator, Mapping
    from typing import TypeAlias

    from tests.support.faulty_plan import Plan, Step

    Contexts: TypeAlias = Mapping[Certificates, ssl.SSLContext]

PR_SET_TIMERSLACK = 29
ROOM = 1024
"""Connections that may wait to be accepted."""
GRACE = 2 * SECOND
"""How long a port that is shut waits for its clients, who have left, or are about to."""


class Listener:
    """One port, and a thread that lets clients in."""

    def __init__(
        self, order: Listen, contexts: Mapping[Certificates, ssl.SSLContext], journal: Journal
    ) -> None:
        self._order = order
        self._journal = journal
        self._treatments = [
            Treatment(plan, draws(plan, f"{order.seed}/{index}"), contexts[plan.certificates])
            for index, plan in enumerate(order.plans)
        ]
        self._connections: list[tuple[Connection, threading.Thread]] = []
        self._crowd: socket.socket | None = None
        self._sock = socket.socket()
        stamp_arrivals(self._sock)
        self._sock.bind(("127.0.0.1", 0))
        self.port: int = self._sock.getsockname()[1]
        match order.door:
            case Door.OPEN:
                self._let_in()
            case Door.CROWDED:
                self._sock.listen(0)
                self._crowd = socket.create_connection(self._sock.getsockname())
            case Door.UNANSWERED:
                self._sock.listen(ROOM)
            case Door.SHUT:
                pass

    def uncrowd(self, at: int) -> None:
        """Make room at a time, and let in whoever comes from then on."""
        sleep_until(at)
        self._let_in()

    def shut(self) -> None:
        """Listen no more, and end the connections that have not ended by themselves within their time."""
        with suppress(OSError):  # it never listened
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()
        if self._crowd is not None:
            self._crowd.close()
        until = now() + GRACE
        for connection, thread in self._connections:
            thread.join(max(until - now(), 0) / SECOND)
            connection.shut()

    def _let_in(self) -> None:
        self._sock.listen(ROOM)
        room = now()
        if self._crowd is not None:
            self._sock.accept()[0].close()
            self._journal.take(Note(event="uncrowded", at=room, listener=self._order.name))
        threading.Thread(target=self._accept, name=self._order.name, daemon=True).start()

    def _accept(self) -> None:
        for number, treatment in enumerate(cycle(self._treatments)):
            try:
                sock, _ = self._sock.accept()
            except OSError:  # shut
                return
            connection = Connection(sock, treatment, self._journal, listener=self._order.name, number=number)
            thread = threading.Thread(target=connection.serve, daemon=True)
            thread.start()
            self._connections.append((connection, thread))


def draws(plan: Plan, seed: str) -> dict[Step, Iterator[int]]:
    """Return the delays of each step, to be taken from any thread."""
    return {step: map(partial(delay.draw, f"{seed}/{step}"), count()) for step, delay in plan.delays.items()}


def contexts_of(order: Identify) -> dict[Certificates, ssl.SSLContext]:
    """Return the TLS of each way to treat the certificates of clients."""
    credential = Credential(order.certificate, order.key, order.chain)
    return {
        Certificates.REQUIRE: server_context(credential, client_trust=[order.trust]),
        Certificates.REFUSE: server_context(credential, client_trust=[order.stranger]),
        Certificates.IGNORE: server_context(credential),
    }


class Broker:
    """Does what it is told, one command after the other."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._listeners: dict[str, Listener] = {}
        self._contexts: dict[Certificates, ssl.SSLContext] = {}

    def do(self, command: Command) -> None:
        match command:
            case Identify():
                self._contexts = contexts_of(command)
            case Listen(name=name):
                self._listeners[name] = listener = Listener(command, self._contexts, self._journal)
                self._journal.take(Note(event="listening", at=now(), listener=name, port=listener.port))
            case Uncrowd(name=name, at=at):
                threading.Thread(target=self._listeners[name].uncrowd, args=[at], daemon=True).start()
            case Freeze(at=at, ms=ms):
                threading.Thread(target=self._freeze, args=[at, ms], daemon=True).start()
            case Shut(name=name):
                self._listeners.pop(name).shut()
            case Mark():
                self._journal.take(Note(event="marked", at=now()))

    def _freeze(self, at: int, ms: int) -> None:
        """Sleep with the interpreter's lock, so that no other thread of this process gets anywhere."""
        sleep = ctypes.PyDLL(None).poll
        sleep_until(at)
        begun = now()
        sleep(None, 0, ms)
        self._journal.take(Note(event="frozen", at=begun, heard=begun, said=now()))


def be_precise() -> None:
    """Wake up when it is time: no slack in the kernel's timers, short turns for threads, no collector."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1)
        with suppress(PermissionError):  # else it competes with whatever the machine has to do
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(2))
    sys.setswitchinterval(0.0005)
    gc.disable()


def main() -> None:
    be_precise()
    broker = Broker(Journal(sys.stdout))
    for line in sys.stdin:
        broker.do(COMMAND.validate_json(line))


if __name__ == "__main__":
    main()
