"""What a device offers in its handshake, as the other side sees it."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

import pytest

from simulator.errors import UsageError
from simulator.identity.authority import Authority
from simulator.identity.credential import Credential
from simulator.link.failure import LinkError
from simulator.link.openssl import expect_host, openssl_version
from simulator.link.tls import TlsClient, TlsSettings
from simulator.scenario.kinds import KeyKind, TlsVersion
from tests.support.tls import VERSIONS, server_context
from tests.support.wire import Wire

if TYPE_CHECKING:
    from tests.support.listener import Listener


class Handshake:
    """What came of one handshake."""

    def __init__(self, wire: Wire, server: ssl.SSLSocket) -> None:
        connection = wire.link._tls
        assert connection is not None
        self.group = connection.get_group_name()
        self.cipher = server.cipher()
        self.alpn = server.selected_alpn_protocol()
        self.version = server.version()
        wire.link.close()


async def shake_hands(
    listener: Listener, tls: TlsClient, context: ssl.SSLContext, credential: Credential | None = None
) -> Handshake:
    wire = Wire()
    serving = asyncio.create_task(asyncio.to_thread(listener.shake_hands, context))
    try:
        await wire.open(listener.address, tls, credential)
    except LinkError:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await serving
        raise
    return Handshake(wire, await serving)


@pytest.mark.parametrize(
    ("host", "name"), [("localhost", "localhost"), ("bücher.example", "xn--bcher-kva.example")]
)
async def test_a_host_name_is_sent_and_an_address_is_not(
    listener: Listener, brokers: Authority, host: str, name: str
) -> None:
    asked: list[str | None] = []
    context = server_context(brokers.issue_server([name, "127.0.0.1"]))
    context.sni_callback = lambda _sock, server_name, _context: asked.append(server_name)
    await shake_hands(listener, TlsClient(TlsSettings(trust=(brokers.root,)), host), context)
    await shake_hands(listener, TlsClient(TlsSettings(trust=(brokers.root,)), "127.0.0.1"), context)
    assert asked == [name, None]


async def test_the_first_protocol_that_both_know_is_chosen(
    listener: Listener, brokers: Authority, server: Credential
) -> None:
    context = server_context(server)
    context.set_alpn_protocols(["mqtt", "x-amzn-mqtt-ca"])
    settings = TlsSettings(trust=(brokers.root,), alpn=("x-amzn-mqtt-ca",))
    offered = await shake_hands(listener, TlsClient(settings, "127.0.0.1"), context)
    silent = await shake_hands(listener, TlsClient(TlsSettings(trust=(brokers.root,)), "127.0.0.1"), context)
    assert (offered.alpn, silent.alpn) == ("x-amzn-mqtt-ca", None)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("asked", "group"), [("P-384", "secp384r1"), ("P-256", "prime256v1"), ("X25519", "X25519")]
)
async def test_the_chosen_group_is_used(
    listener: Listener,
    *,
    brokers: Authority,
    server: Credential,
    version: TlsVersion,
    asked: str,
    group: str,
) -> None:
    settings = TlsSettings(version, groups=(asked, "P-256"), trust=(brokers.root,))
    context = server_context(server)
    context.set_ecdh_curve(group)  # under TLS 1.2 the server's order counts, whatever the device prefers
    made = await shake_hands(listener, TlsClient(settings, "127.0.0.1"), context)
    assert made.group in {group, "secp256r1" if group == "prime256v1" else group.lower()}
    assert made.version == f"TLSv{version}"


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_group_that_the_server_does_not_have(
    listener: Listener, brokers: Authority, server: Credential, version: TlsVersion
) -> None:
    context = server_context(server, version=version)
    context.set_ecdh_curve("prime256v1")
    context.set_ciphers("ECDHE")
    settings = TlsSettings(version, groups=("P-384",), trust=(brokers.root,))
    with pytest.raises(LinkError, match=r"^tls_handshake: handshake_failure: "):
        await shake_hands(listener, TlsClient(settings, "127.0.0.1"), context)


@pytest.mark.parametrize(
    ("version", "suite"),
    [
        (TlsVersion.V12, "ECDHE-ECDSA-CHACHA20-POLY1305"),
        (TlsVersion.V13, "TLS_CHACHA20_POLY1305_SHA256"),
        (TlsVersion.V13, "TLS_AES_128_GCM_SHA256"),
    ],
)
async def test_the_chosen_cipher_is_used(
    listener: Listener, brokers: Authority, server: Credential, version: TlsVersion, suite: str
) -> None:
    settings = TlsSettings(version, ciphers=(suite,), trust=(brokers.root,))
    made = await shake_hands(listener, TlsClient(settings, "127.0.0.1"), server_context(server))
    assert made.cipher is not None
    assert made.cipher[0] == suite


@pytest.mark.parametrize(
    ("offered", "spoken"), [(TlsVersion.V12, TlsVersion.V13), (TlsVersion.V13, TlsVersion.V12)]
)
async def test_no_version_in_common(
    listener: Listener, brokers: Authority, server: Credential, offered: TlsVersion, spoken: TlsVersion
) -> None:
    context = server_context(server, version=spoken)
    tls = TlsClient(TlsSettings(offered, trust=(brokers.root,)), "127.0.0.1")
    with pytest.raises(LinkError, match=r"^tls_handshake: protocol_version: "):
        await shake_hands(listener, tls, context)


async def test_the_newest_version_is_spoken_where_any_will_do(
    listener: Listener, brokers: Authority, server: Credential
) -> None:
    tls = TlsClient(TlsSettings(trust=(brokers.root,)), "127.0.0.1")
    assert (await shake_hands(listener, tls, server_context(server))).version == "TLSv1.3"


@pytest.mark.parametrize("kind", KeyKind)
async def test_every_kind_of_key_authenticates(
    listener: Listener, brokers: Authority, server: Credential, devices: Authority, kind: KeyKind
) -> None:
    context = server_context(server, client_trust=[devices.root])
    tls = TlsClient(TlsSettings(trust=(brokers.root,)), "127.0.0.1")
    credential = devices.issue_device("core2-00001", key=kind)
    assert (await shake_hands(listener, tls, context, credential)).version == "TLSv1.3"


@pytest.mark.parametrize("kind", [KeyKind.EC_P256, KeyKind.EC_P384])
async def test_a_key_of_another_certificate_is_refused_before_anything_is_sent(
    listener: Listener, brokers: Authority, device: Credential, devices: Authority, kind: KeyKind
) -> None:
    wrong = Credential(device.certificate, devices.issue_device("x", key=kind).key, device.chain)
    tls = TlsClient(TlsSettings(trust=(brokers.root,)), "127.0.0.1")
    with pytest.raises(ValueError, match=r"^this private key is not that of the certificate$") as refused:
        await Wire().open(listener.address, tls, wrong)
    assert wrong.key.hex() not in repr(refused.value)


def test_settings_that_openssl_does_not_know_are_named_before_the_run() -> None:
    with pytest.raises(UsageError, match=r"^OpenSSL does not offer these groups: P-256, P-999$"):
        TlsClient(TlsSettings(groups=("P-256", "P-999")), "localhost").check()
    with pytest.raises(UsageError, match=r"^OpenSSL does not know these ciphers: TLS_NONSENSE$"):
        TlsClient(TlsSettings(ciphers=("TLS_NONSENSE",)), "localhost").check()
    with pytest.raises(UsageError, match=r"^OpenSSL does not know these ciphers: NONSENSE$"):
        TlsClient(TlsSettings(ciphers=("NONSENSE",)), "localhost").check()
    TlsClient(TlsSettings(groups=("P-256",), ciphers=("TLS_AES_128_GCM_SHA256",)), "localhost").check()


def test_devices_of_one_chain_share_a_context_and_those_of_another_do_not() -> None:
    tls = TlsClient(TlsSettings(), "localhost")
    one, two = Authority.create("One").issuing, Authority.create("Two").issuing
    assert tls.context((one,)) is tls.context((one,))
    assert tls.context((one,)) is not tls.context((two,))


def test_a_host_that_cannot_be_expected() -> None:
    context = TlsClient(TlsSettings(), "localhost").context(())
    with pytest.raises(ValueError, match=r"^not a host name or address: "):
        expect_host(context, "local\0host")


def test_the_version_of_openssl_is_a_version() -> None:
    assert all(part.isdecimal() for part in openssl_version().split("."))
