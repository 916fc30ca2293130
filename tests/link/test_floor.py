from __future__ import annotations

import pytest
from OpenSSL import SSL

from simulator.clock import MICROSECOND, SECOND
from simulator.identity.authority import Authority
from simulator.link import floor
from simulator.link.floor import handshake, handshake_floor, server_context
from simulator.link.openssl import LoadedCredential
from simulator.link.tls import TlsClient, TlsSettings
from simulator.scenario.kinds import TlsVersion


@pytest.mark.parametrize("version", [TlsVersion.V12, TlsVersion.V13])
def test_a_handshake_in_memory_takes_processor_time(
    version: TlsVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(floor, "HANDSHAKES", 5)
    authority = Authority.create("Floor")
    settings = TlsSettings(version, trust=(authority.root,))
    device, server = authority.issue_device("device"), authority.issue_server(["localhost"])
    assert 50 * MICROSECOND < handshake_floor(settings, device, server) < SECOND


def test_both_sides_check_each_other() -> None:
    authority, stranger = Authority.create("Floor"), Authority.create("Stranger")
    server = authority.issue_server(["localhost"])
    client = TlsClient(TlsSettings(trust=(authority.root,)), "localhost")
    context = server_context(server, (authority.root,))
    with pytest.raises(SSL.Error):
        handshake(
            client, LoadedCredential(stranger.issue_device("device")), context, LoadedCredential(server)
        )
