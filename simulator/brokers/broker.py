"""What a run asks of its broker, wherever the broker comes from.

This module must not know how any of them is started.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulator.scenario.kinds import BrokerKind, Endpoint

__all__ = ["Broker", "BrokerUsage"]


@dataclass(frozen=True, slots=True)
class BrokerUsage:
    """What the broker's process has used since it started: CPU seconds (user + system), and memory now."""

    cpu_seconds: float
    rss_bytes: int


class Broker(Protocol):
    """A broker that demands a client certificate, as the coordinator of a run sees it."""

    @property
    def kind(self) -> BrokerKind:
        """Where the broker comes from."""
        ...

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Where to connect; empty before the first ``start()`` where the port is still to be chosen."""
        ...

    @property
    def trust(self) -> tuple[bytes, ...]:
        """DER trust anchors for the broker's own certificate; empty stands for the system's anchors."""
        ...

    @property
    def server_name(self) -> str | None:
        """The name that the broker's certificate must carry, or None for the host of the endpoint."""
        ...

    @property
    def description(self) -> str:
        """One line for the report: program, version, address, authentication."""
        ...

    def look(self) -> tuple[str, ...]:
        """See whether somebody else's broker answers, and return a sentence for each endpoint that does not.

        It blocks while it looks. Raises BrokerUnreachableError where no endpoint accepts a connection.
        """
        ...

    async def start(self) -> None:
        """Return when the broker accepts connections; after ``stop()`` at the same address as before.

        Raises BrokerError where a broker of ours cannot be started or runs already; somebody else's runs.
        """
        ...

    def admit(self, trust: Sequence[bytes], crls: Sequence[bytes] = ()) -> None:
        """Accept, from the next start on, clients whose certificate chains to ``trust`` (DER).

        With ``crls`` (DER) the broker refuses a client whose certificate they list, and also one whose issuer
        has no list among them (RFC 5280 section 6.3.3); without any, it looks at no lists. Somebody else's
        broker has been told of both by its operator.
        """
        ...

    async def take_crls(self, crls: Sequence[bytes]) -> None:
        """Return when the broker judges every new connection by these revocation lists (DER).

        Established connections live on. A broker that is not running judges by them from its next start on.
        Raises BrokerError where it was started without lists, does not take these in time, or is not ours.
        """
        ...

    async def stop(self) -> None:
        """End the broker and close its connections; do nothing where it is not running or not ours."""
        ...

    async def wait_failed(self) -> NoReturn:
        """Raise BrokerError as soon as the broker's process ends without ``stop()``; never return otherwise.

        It may be awaited before ``start()``, and goes on waiting over any number of stops and starts.
        """
        ...

    def usage(self) -> BrokerUsage | None:
        """Return what the broker's process uses; None where no process of ours is running."""
        ...
