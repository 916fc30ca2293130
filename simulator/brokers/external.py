"""Somebody else's broker: where it is, and what its certificate chains to. Nothing is started or stopped."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING, ClassVar, NoReturn

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from simulator.errors import BrokerError, BrokerUnreachableError, UsageError
from simulator.scenario.kinds import BrokerKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from simulator.brokers.broker import BrokerUsage
    from simulator.scenario.kinds import Endpoint

__all__ = ["ExternalBroker", "read_trust"]

_CONNECT_SECONDS = 5.0


class ExternalBroker:
    """A broker that runs already.

    ``trust`` are DER anchors for its certificate (empty: the system's), ``server_name`` the name in it where
    that is not the host of the endpoint.
    """

    kind: ClassVar[BrokerKind] = BrokerKind.EXTERNAL

    def __init__(
        self, endpoints: Iterable[Endpoint], *, trust: Sequence[bytes] = (), server_name: str | None = None
    ) -> None:
        self._endpoints = tuple(endpoints)
        self._trust = tuple(trust)
        self._server_name = server_name
        if not self._endpoints:
            raise UsageError(
                "an external broker needs at least one endpoint, such as broker.example.com:8883"
            )

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Where to connect."""
        return self._endpoints

    @property
    def trust(self) -> tuple[bytes, ...]:
        """DER trust anchors for the broker's certificate; empty stands for the system's anchors."""
        return self._trust

    @property
    def server_name(self) -> str | None:
        """The name that the broker's certificate must carry, or None for the host of the endpoint."""
        return self._server_name

    @property
    def description(self) -> str:
        """The endpoints."""
        return f"external, {', '.join(map(str, self._endpoints))}"

    def look(self) -> tuple[str, ...]:
        """Make a TCP connection to each endpoint, send nothing on it, and tell of those that do not accept.

        Raises BrokerUnreachableError where none has within five seconds, with the reason of each.
        """
        refusals = ((endpoint, _refusal(endpoint)) for endpoint in self._endpoints)
        reasons = [f"{endpoint}: {reason}" for endpoint, reason in refusals if reason is not None]
        if len(reasons) == len(self._endpoints):
            listed = "; ".join(reasons)
            raise BrokerUnreachableError(f"no endpoint of the broker accepts a connection ({listed})")
        return tuple(
            f"an endpoint of the broker accepts no connection, so devices that dial it will fail: {reason}"
            for reason in reasons
        )

    async def start(self) -> None:
        """Do nothing: the broker runs already."""

    def admit(self, trust: Sequence[bytes], crls: Sequence[bytes] = ()) -> None:
        """Do nothing: the broker's operator tells it whom to accept."""

    async def take_crls(self, crls: Sequence[bytes]) -> None:  # noqa: ARG002 - the signature is the protocol's
        """Raise BrokerError: only the broker's operator can give it a revocation list."""
        where = ", ".join(map(str, self._endpoints))
        raise BrokerError(
            f"the broker at {where} is not ours, so its operator must give it the new revocation list:"
            " `simulator fleet crl` writes one"
        )

    async def stop(self) -> None:
        """Do nothing: the broker is not ours."""

    async def wait_failed(self) -> NoReturn:
        """Wait for ever: what becomes of the broker shows in the devices' connections."""
        while True:
            await asyncio.Event().wait()

    def usage(self) -> BrokerUsage | None:
        """Return None: there is no process of ours."""
        return None


def _refusal(endpoint: Endpoint) -> str | None:
    """Return why ``endpoint`` accepts no connection, or None where it does."""
    try:
        socket.create_connection(endpoint, timeout=_CONNECT_SECONDS).close()
    except TimeoutError:
        return f"no answer within {_CONNECT_SECONDS:.0f} s"
    except socket.gaierror as error:
        return error.strerror
    except UnicodeError:
        return "it is not a name that DNS can hold"
    except OSError as error:
        return os.strerror(error.errno) if error.errno else str(error)
    return None


def read_trust(paths: Iterable[Path]) -> tuple[bytes, ...]:
    """Return the certificates of PEM files, in DER; raise UsageError for a file that holds none."""
    return tuple(
        certificate.public_bytes(Encoding.DER) for path in paths for certificate in _certificates(path)
    )


def _certificates(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise UsageError(f"cannot read the trust file {path}: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"the trust file {path} holds no certificate in PEM format") from error
