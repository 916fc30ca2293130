"""A broker that runs as a child process of ours: its address, its certificate, its life.

The two kinds differ only in the command that starts them. This module must not know either.
"""

from __future__ import annotations

import asyncio
import errno
import secrets
import socket
from abc import ABC, abstractmethod
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, NoReturn

from simulator.brokers.process import Child
from simulator.errors import BrokerError
from simulator.identity.authority import Authority
from simulator.scenario.kinds import Endpoint, KeyKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulator.brokers.broker import BrokerUsage
    from simulator.brokers.process import Command
    from simulator.identity.credential import Credential
    from simulator.scenario.kinds import BrokerKind

__all__ = ["ManagedBroker"]

_READY_SECONDS = 20.0
_ATTEMPTS = 8
_PORTS = range(20_000, 32_768)
"""Where a port is chosen: below the ephemeral ports of Linux (from 32768) and macOS (from 49152). While the
broker is away no outgoing connection can take its port, and no device that dials it can reach itself."""

_IN_USE = "address already in use"
_REACHABLE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, never listened on


class ManagedBroker(ABC):
    """The part of a managed broker that does not depend on the program.

    ``client_trust`` are the DER certificates that device certificates chain to. Port 0 has a port chosen at
    the first start and kept from then on. The broker's own certificate comes from ``authority``, or from one
    that lives and dies with this object; its root is ``trust``.
    """

    kind: ClassVar[BrokerKind]
    name: ClassVar[str]

    def __init__(
        self,
        client_trust: Sequence[bytes],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        authority: Authority | None = None,
    ) -> None:
        self._client_trust = tuple(client_trust)
        self._crls: tuple[bytes, ...] = ()
        self._host = host
        self._port = port
        self._given = port != 0
        authority = authority or Authority.create(f"{self.kind} broker")
        names = dict.fromkeys(("localhost", "127.0.0.1", "::1", _REACHABLE.get(host, host)))
        self._credential = authority.issue_server(
            names=list(names), validity=timedelta(days=30), key=KeyKind.EC_P256
        )
        self._trust = (authority.root,)
        self._child: Child | None = None
        self._started = asyncio.Event()

    @abstractmethod
    def _command(self, listen: Endpoint, credential: Credential) -> Command:
        """Return the command that starts the broker at ``listen``."""

    @abstractmethod
    async def _renew_crls(self, child: Child) -> bool:
        """Hand ``self._crls`` to the running broker; return whether it has taken them."""

    @property
    @abstractmethod
    def _program(self) -> str:
        """Name and version of the program, for the report."""

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Where to connect; empty before the first start where the port is still to be chosen."""
        return (Endpoint(_REACHABLE.get(self._host, self._host), self._port),) if self._port else ()

    @property
    def trust(self) -> tuple[bytes, ...]:
        """The root of the broker's own certificate, in DER."""
        return self._trust

    @property
    def server_name(self) -> str | None:
        """None: the certificate carries the address of the endpoint."""
        return None

    @property
    def description(self) -> str:
        """Program, version, address, and that client certificates are required."""
        where = ", ".join(str(endpoint) for endpoint in self.endpoints) or "not started"
        lists = ", revocation lists checked" if self._crls else ""
        return f"{self._program}, {where}, client certificates required{lists}"

    def admit(self, trust: Sequence[bytes], crls: Sequence[bytes] = ()) -> None:
        """Accept, from the next start on, clients that chain to ``trust`` and are in none of ``crls``."""
        self._client_trust = tuple(trust)
        self._crls = tuple(crls)

    def look(self) -> tuple[str, ...]:
        """Return nothing: the broker is still to be started."""
        return ()

    async def take_crls(self, crls: Sequence[bytes]) -> None:
        """Return when every new connection is judged by ``crls``; raise BrokerError where that cannot be."""
        child = self._child
        if child is not None and not self._crls:
            raise BrokerError(
                f"the {self.name} at {self.endpoints[0]} was started without revocation lists, so it looks at"
                " none"
            )
        self._crls = tuple(crls)
        if child is None or await self._renew_crls(child):
            return
        if self._child is child:  # and was not stopped meanwhile, to begin again with the new lists
            where = self.endpoints[0]
            raise BrokerError(
                f"the {self.name} at {where} did not take a new revocation list{_last_words(child)}"
            )

    async def start(self) -> None:
        """Start the broker and return when it accepts connections; raise BrokerError where it does not."""
        if self._child is not None:
            raise BrokerError(f"the {self.name} at {self.endpoints[0]} runs already; stop it first")
        for _ in range(1 if self._port else _ATTEMPTS):
            listen = Endpoint(self._host, self._port or _free_port(self._host))
            child = await self._launch(listen)
            if child is not None:
                self._port = listen.port
                self._child = child
                self._started.set()
                return
        raise BrokerError(self._taken())

    async def _launch(self, listen: Endpoint) -> Child | None:
        """Return the broker's process, ready; None where the address is in use."""
        child = await Child.start(self._command(listen, self._credential))
        try:
            ready = await child.wait_ready(_READY_SECONDS)
        except asyncio.CancelledError:
            await child.stop()
            raise
        if ready:
            return child
        late = child.returncode is None
        await child.stop()
        if any(_IN_USE in line.lower() for line in child.tail):
            return None
        what = f"was not ready in {_READY_SECONDS:.0f} s" if late else f"ended with status {child.returncode}"
        raise BrokerError(f"the {self.name} could not be started: it {what}{_last_words(child)}")

    def _taken(self) -> str:
        where = f"port {self._port} of {self._host}"
        if not self._port:
            return f"the {self.name} found no free port of {self._host} in {_ATTEMPTS} attempts"
        if self._given:
            return f"{where} is in use; choose another port for the {self.name}, or 0 to have one chosen"
        return f"{where} was taken by another program while the {self.name} was away"

    async def stop(self) -> None:
        """End the broker and close its connections; do nothing where it does not run."""
        child, self._child = self._child, None
        if child is not None:
            self._started.clear()
            await child.stop()

    async def wait_failed(self) -> NoReturn:
        """Raise BrokerError as soon as the broker ends without ``stop()``; never return otherwise."""
        while True:
            await self._started.wait()
            child = self._child
            if child is not None:
                await child.wait_exit()
                if not child.stopping:
                    where = self.endpoints[0]
                    raise BrokerError(f"the {self.name} at {where} ended by itself{_last_words(child)}")

    def usage(self) -> BrokerUsage | None:
        """Return what the broker's process uses; None where it does not run."""
        return None if self._child is None else self._child.usage()


def _last_words(child: Child) -> str:
    return ", last words: " + " | ".join(child.tail[-5:]) if child.tail else ", without a word"


def _free_port(host: str) -> int:
    """Return a port of ``host`` that nobody listens on at this moment."""
    try:
        family = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0][0]
        for _ in range(_ATTEMPTS):
            port = secrets.choice(_PORTS)
            if _can_bind(family, host, port):
                return port
    except OSError as error:
        why = error.strerror or error
        raise BrokerError(f"{host} is not an address of this machine to listen on: {why}") from error
    raise BrokerError(f"found no free port of {host} between {_PORTS.start} and {_PORTS.stop - 1}")


def _can_bind(family: int, host: str, port: int) -> bool:
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise
    return True
