"""The server's side of TLS by the standard library: a second opinion on what a link does."""

from __future__ import annotations

import ssl
import tempfile
from typing import TYPE_CHECKING

from simulator.identity import pem
from simulator.scenario.kinds import TlsVersion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulator.identity.credential import Credential

VERSIONS = (TlsVersion.V12, TlsVersion.V13)


def server_context(
    credential: Credential, *, client_trust: Sequence[bytes] = (), version: TlsVersion = TlsVersion.ANY
) -> ssl.SSLContext:
    """Return the settings of a server; with ``client_trust`` (DER) it requires a client's certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(credential.chain_pem() + credential.key_pem())
        file.flush()
        context.load_cert_chain(file.name)
    if version is TlsVersion.V12:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    if version is TlsVersion.V13:
        context.minimum_version = ssl.TLSVersion.TLSv1_3
    if client_trust:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=pem.certificates(client_trust))
    return context
