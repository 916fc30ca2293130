"""What a TLS handshake costs by itself: the client's half, in memory, without a socket or a broker.

No client on this machine can connect with less. This module must not know what anybody does with the figure.
"""

from __future__ import annotations

import time
from contextlib import suppress
from statistics import median
from typing import TYPE_CHECKING

from cryptography import x509
from OpenSSL import SSL, crypto

from simulator.link.openssl import LoadedCredential
from simulator.link.tls import TlsClient

if TYPE_CHECKING:
    from simulator.identity.credential import Credential
    from simulator.link.tls import TlsSettings

__all__ = ["handshake_floor"]

HANDSHAKES = 100
MOST = 65_536


def handshake_floor(settings: TlsSettings, device: Credential, server: Credential) -> float:
    """Return the client's processor time for one handshake and the tickets after it, nanoseconds.

    Both credentials chain to ``settings.trust``, and the server's is for ``localhost``.
    """
    client, context = TlsClient(settings, "localhost"), server_context(server, settings.trust)
    shown, answered = LoadedCredential(device), LoadedCredential(server)
    return median(handshake(client, shown, context, answered) for _ in range(HANDSHAKES))


def server_context(server: Credential, trust: tuple[bytes, ...]) -> SSL.Context:
    """Return the settings of a server that demands a certificate, as brokers here do."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    for issuer in server.chain:
        context.add_extra_chain_cert(x509.load_der_x509_certificate(issuer))
    store = context.get_cert_store()
    if store is not None:
        for anchor in trust:
            store.add_cert(crypto.load_certificate(crypto.FILETYPE_ASN1, anchor))
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)
    context.set_session_id(b"floor")
    return context


def handshake(
    client: TlsClient, shown: LoadedCredential, context: SSL.Context, answered: LoadedCredential
) -> int:
    """Shake hands once, and return the processor time that the client's half took, nanoseconds."""
    server = SSL.Connection(context, None)
    answered.give_to(server)
    server.set_accept_state()
    cpu = -time.thread_time_ns()
    device = client.connection(None, shown)
    said = advance(device)
    cpu += time.thread_time_ns()
    while said:
        server.bio_write(said)
        answer = advance(server)
        if not answer:
            break
        cpu -= time.thread_time_ns()
        device.bio_write(answer)
        said = advance(device)
        cpu += time.thread_time_ns()
    return cpu


def advance(connection: SSL.Connection) -> bytes:
    """Go as far as it goes without the peer, tickets and all, and return what is to be sent to it."""
    with suppress(SSL.WantReadError):
        connection.do_handshake()
        connection.recv(1)
    try:
        return connection.bio_read(MOST)
    except SSL.WantReadError:
        return b""
