"""Whether a scheduler is there and one of ours, found out before anything depends on it.

Dask tries again for as long as it is let, also where a certificate will never do, and its words are its own.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

from distributed.comm.core import CommClosedError, FatalCommClosedError, connect

from simulator.errors import WorkerError

if TYPE_CHECKING:
    from distributed import Security

    from simulator.identity.cluster_folder import Role

__all__ = ["PATIENCE", "reach", "root_of"]

PATIENCE = 10.0
"""Seconds that a scheduler gets to be there."""


async def reach(scheduler: str, security: Security, role: Role) -> None:
    """Return when the scheduler has answered to this role; raise ``WorkerError`` that says why it has not."""
    arguments = security.get_connection_args(role.value)
    try:
        async with asyncio.timeout(2 * PATIENCE):  # Dask limits the time to connect, not that to be answered
            comm = await connect(scheduler, timeout=PATIENCE, **arguments)
            await comm.close()
    except OSError as error:  # TimeoutError is one
        raise WorkerError(_unreached(scheduler, error)) from None


def root_of(error: BaseException) -> str:
    """Return the first cause of an error in words."""
    while error.__cause__ is not None:
        error = error.__cause__
    return (error.strerror if isinstance(error, OSError) else "") or str(error) or type(error).__name__


def _unreached(scheduler: str, error: OSError) -> str:
    if isinstance(error.__cause__, ssl.SSLCertVerificationError):
        why = "its certificate is not of the authority in our folder, which is that of another cluster"
        return f"the scheduler at {scheduler} is a stranger: {why}"
    if isinstance(error, FatalCommClosedError) and error.__cause__ is not None:
        return f"what listens at {scheduler} speaks no TLS, so it is not this cluster's scheduler"
    if isinstance(error, CommClosedError):
        why = "our certificate is not of its authority, or it is about to end"
        return f"the scheduler at {scheduler} has closed the connection: {why}"
    return f"the scheduler at {scheduler} cannot be reached within {PATIENCE:g} s: {root_of(error)}"
