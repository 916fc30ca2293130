from __future__ import annotations

import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from simulator import clock
from simulator.errors import FleetError
from simulator.identity import pem
from simulator.identity.authority import Authority
from simulator.identity.issuer import Issuer, Profile, common_name
from simulator.identity.keys import decode
from simulator.identity.validity import CLOCK_ALLOWANCE, period
from simulator.scenario.kinds import KeyKind
from tests.identity import lint
from tests.identity.conftest import authority_of
from tests.support.tools import require

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from simulator.identity.credential import Credential

NAMES = ["broker.example", "127.0.0.1", "::1"]


def extension(der: bytes, kind: type[x509.ExtensionType]) -> x509.Extension[x509.ExtensionType]:
    return x509.load_der_x509_certificate(der).extensions.get_extension_for_class(kind)


# What the linter says


@pytest.mark.parametrize("kind", KeyKind)
def test_the_linter_finds_no_error(kind: KeyKind) -> None:
    authority = authority_of(kind)
    made = {
        "root": authority.root,
        "issuing": authority.issuing,
        "device": authority.issue_device("core2-00001", key=kind).certificate,
        "server": authority.issue_server(NAMES, key=kind).certificate,
    }
    assert {role: lint.errors(der) for role, der in made.items()} == {key: [] for key in made}


@pytest.mark.parametrize("lifetime", [timedelta(seconds=1), timedelta(days=29 * 365)])
def test_the_linter_finds_no_error_in_short_and_long_lifetimes(
    authority: Authority, lifetime: timedelta
) -> None:
    assert lint.errors(authority.issue_device("core2-00001", validity=lifetime).certificate) == []


def test_the_linter_sees_what_is_wrong(authority: Authority) -> None:
    key = decode(authority.issuing_credential.key)
    issuer = Issuer(common_name("Careless"), key)
    signs_without_being_ca = Profile(
        (
            (x509.BasicConstraints(ca=False, path_length=None), False),
            (extension(authority.issuing, x509.KeyUsage).value, True),
        )
    )
    der = issuer.certify("x", key.public_key(), period(timedelta(days=1)), signs_without_being_ca)
    assert lint.errors(der) != []


# What OpenSSL says


@dataclass(frozen=True)
class Verifier:
    """``openssl verify``, and the folder for the files that it wants."""

    openssl: str
    folder: Path

    def __call__(
        self, root: bytes, chain: Sequence[bytes], leaf: Credential, purpose: str, *options: str
    ) -> str:
        """Return "OK", or the words of the first error."""
        (self.folder / "root.pem").write_text(pem.certificates([root]))
        (self.folder / "chain.pem").write_text(pem.certificates(chain))
        (self.folder / "leaf.pem").write_text(leaf.certificate_pem())
        command = [self.openssl, "verify", "-x509_strict", "-purpose", purpose, "-CAfile", "root.pem"]
        command += ["-untrusted", "chain.pem"] if chain else []
        done = subprocess.run(
            [*command, *options, "leaf.pem"], cwd=self.folder, capture_output=True, text=True, check=False
        )
        return "OK" if done.returncode == 0 else done.stderr


@pytest.fixture
def verify(tmp_path: Path) -> Verifier:
    return Verifier(require("openssl"), tmp_path)


@pytest.mark.parametrize("kind", KeyKind)
def test_openssl_accepts_a_device_as_client_and_a_broker_as_server(kind: KeyKind, verify: Verifier) -> None:
    authority = authority_of(kind)
    device = authority.issue_device("core2-00001", key=kind)
    broker = authority.issue_server(NAMES, key=kind)
    assert verify(authority.root, device.chain, device, "sslclient") == "OK"
    assert verify(authority.root, broker.chain, broker, "sslserver") == "OK"


def test_openssl_refuses_another_authority_of_the_same_name(authority: Authority, verify: Verifier) -> None:
    device = authority.issue_device("core2-00001")
    other = Authority.create(authority.name)
    assert "unable to get local issuer" in verify(other.root, device.chain, device, "sslclient")


def test_openssl_refuses_without_the_intermediate(authority: Authority, verify: Verifier) -> None:
    device = authority.issue_device("core2-00001")
    assert "unable to get local issuer" in verify(authority.root, (), device, "sslclient")


def test_openssl_refuses_a_device_as_server_and_a_broker_as_client(
    authority: Authority, verify: Verifier
) -> None:
    device, broker = authority.issue_device("core2-00001"), authority.issue_server(NAMES)
    for leaf, purpose in ((device, "sslserver"), (broker, "sslclient")):
        assert "purpose" in verify(authority.root, leaf.chain, leaf, purpose)


def test_openssl_refuses_a_device_that_signs(authority: Authority, verify: Verifier) -> None:
    device = authority.issue_device("core2-00001")
    fake = Authority(authority.root_credential, device).issue_device("core2-00002")
    chain = (device.certificate, authority.issuing)
    assert "invalid CA certificate" in verify(authority.root, chain, fake, "sslclient")


@pytest.mark.parametrize(
    ("name", "option"), [("broker.example", "hostname"), ("127.0.0.1", "ip"), ("::1", "ip")]
)
def test_openssl_finds_the_names_of_a_broker(
    authority: Authority, verify: Verifier, name: str, option: str
) -> None:
    broker = authority.issue_server(NAMES)
    stranger = authority.issue_server(["other.example", "127.0.0.2"])
    check = (f"-verify_{option}", name)
    assert verify(authority.root, broker.chain, broker, "sslserver", *check) == "OK"
    assert "mismatch" in verify(authority.root, stranger.chain, stranger, "sslserver", *check)


def test_three_seconds_are_three_seconds(authority: Authority, verify: Verifier) -> None:
    before = clock.wall()
    device = authority.issue_device("core2-00001", validity=timedelta(seconds=3))
    after = clock.wall()
    assert before + timedelta(seconds=3) <= device.not_after < after + timedelta(seconds=4)

    def at(moment: datetime) -> str:
        time = str(int(moment.timestamp()))
        return verify(authority.root, device.chain, device, "sslclient", "-attime", time)

    assert at(before) == "OK"
    assert at(before + timedelta(seconds=2)) == "OK"
    assert "expired" in at(after + timedelta(seconds=4))


def test_a_certificate_that_is_not_valid_yet(authority: Authority, verify: Verifier) -> None:
    start = clock.wall().replace(microsecond=0) + timedelta(days=2)
    device = authority.issue_device("core2-00001", validity=timedelta(days=1), not_before=start)
    assert (device.not_before, device.not_after) == (start, start + timedelta(days=1))
    assert "not yet valid" in verify(authority.root, device.chain, device, "sslclient")


# What is in them


def test_the_hierarchy(authority: Authority) -> None:
    root = x509.load_der_x509_certificate(authority.root)
    issuing = x509.load_der_x509_certificate(authority.issuing)
    root.verify_directly_issued_by(root)
    issuing.verify_directly_issued_by(root)
    assert root.subject == common_name("Acme root")
    assert issuing.subject == common_name("Acme issuing")
    assert authority.root_pem == pem.certificates([authority.root])
    for der, path_length in ((authority.root, 1), (authority.issuing, 0)):
        constraints = extension(der, x509.BasicConstraints)
        assert constraints.critical
        assert constraints.value == x509.BasicConstraints(ca=True, path_length=path_length)


@pytest.mark.parametrize("kind", KeyKind)
def test_a_device(kind: KeyKind, authority: Authority) -> None:
    device = authority.issue_device("core2-00001", key=kind)
    leaf = device.x509()
    assert leaf.subject == common_name("core2-00001")
    assert leaf.public_key() == decode(device.key).public_key()
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.digital_signature
    assert usage.value.key_encipherment == isinstance(leaf.public_key(), rsa.RSAPublicKey)
    assert not usage.value.key_cert_sign
    purposes = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(purposes) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert device.chain == (authority.issuing,)


def test_identifiers_point_upwards(authority: Authority) -> None:
    leaf = authority.issue_device("core2-00001").certificate
    for lower, upper in ((leaf, authority.issuing), (authority.issuing, authority.root)):
        pointer = extension(lower, x509.AuthorityKeyIdentifier).value
        target = extension(upper, x509.SubjectKeyIdentifier).value
        assert isinstance(pointer, x509.AuthorityKeyIdentifier)
        assert isinstance(target, x509.SubjectKeyIdentifier)
        assert pointer.key_identifier == target.digest


def test_a_broker_states_names_and_addresses_as_what_they_are(authority: Authority) -> None:
    names = (
        authority.issue_server(NAMES)
        .x509()
        .extensions.get_extension_for_class(x509.SubjectAlternativeName)
        .value
    )
    assert names.get_values_for_type(x509.DNSName) == ["broker.example"]
    assert names.get_values_for_type(x509.IPAddress) == [ip_address("127.0.0.1"), ip_address("::1")]


def test_serial_numbers_are_positive_long_and_different(authority: Authority) -> None:
    numbers = {authority.issue_device("core2-00001").serial_number for _ in range(100)}
    assert len(numbers) == 100
    assert 64 < max(number.bit_length() for number in numbers) <= 159
    assert min(numbers) > 0


@pytest.mark.parametrize(
    ("kind", "hash_name"),
    [
        (KeyKind.EC_P256, "sha256"),
        (KeyKind.EC_P384, "sha384"),
        (KeyKind.ED25519, None),
        (KeyKind.RSA_2048, "sha256"),
    ],
)
def test_the_hash_is_no_weaker_than_the_key(kind: KeyKind, hash_name: str | None) -> None:
    used = authority_of(kind).issue_device("core2-00001").x509().signature_hash_algorithm
    assert (used.name if used else None) == hash_name


def test_a_long_validity_begins_five_minutes_early(authority: Authority) -> None:
    device = authority.issue_device("core2-00001", validity=timedelta(days=30))
    early = clock.wall() - device.not_before
    assert CLOCK_ALLOWANCE <= early < CLOCK_ALLOWANCE + timedelta(seconds=10)


# Many at once


@pytest.mark.parametrize("kind", [KeyKind.EC_P256, KeyKind.RSA_2048])
def test_many_devices_come_in_the_order_of_their_names(authority: Authority, kind: KeyKind) -> None:
    names = [f"core2-{number}" for number in range(4)]
    issued = list(authority.issue_devices(names, key=kind))
    subjects = [one.x509().subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value for one in issued]
    assert subjects == names
    assert len({one.key for one in issued}) == 4
    assert len({id(one.chain) for one in issued}) == 1


# What is refused


def test_an_authority_is_known_again(authority: Authority) -> None:
    again = Authority(authority.root_credential, authority.issuing_credential)
    assert again.name == authority.name == "Acme"
    assert again.issue_device("x").chain == authority.issue_device("y").chain
    assert repr(again) == "<Authority 'Acme'>"


@pytest.mark.parametrize("name", ["", "x" * 57, "ü" * 29, "no text \udcff", "line\n"])
def test_a_name_that_fits_no_certificate(name: str) -> None:
    with pytest.raises(FleetError, match="1 to 56 bytes in UTF-8"):
        Authority.create(name)


@pytest.mark.parametrize("letter", ["x", "ü"])
def test_the_longest_name_fits(letter: str) -> None:
    authority = Authority.create(letter * (56 // len(letter.encode())))
    assert lint.errors(authority.issuing) == []
    assert lint.errors(authority.issue_server(NAMES).certificate) == []


def test_a_device_with_a_name_that_no_device_can_have(authority: Authority) -> None:
    with pytest.raises(FleetError, match="topics"):
        authority.issue_device("fleet/core2")


def test_a_device_does_not_outlive_its_authority() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    authority = Authority.create("Brief", validity=timedelta(days=2), not_before=start)
    authority.issue_device("core2-00001", validity=timedelta(days=2), not_before=start)
    with pytest.raises(FleetError, match="would outlive its authority 'Brief', which ends on 2026-01-03"):
        authority.issue_device("core2-00001", validity=timedelta(days=2, seconds=1), not_before=start)


@pytest.mark.parametrize(
    ("names", "why"),
    [
        ([], "needs a host name"),
        (["two words"], "neither a host name"),
        (["bröker.example"], "neither a host name"),
        (["127.0.0.1", ""], "neither a host name"),
        (["https://broker"], "neither a host name"),
    ],
)
def test_a_broker_that_nobody_could_reach(authority: Authority, names: list[str], why: str) -> None:
    with pytest.raises(FleetError, match=why):
        authority.issue_server(names)


@pytest.mark.parametrize("name", ["localhost", "*.brokers.example"])
def test_names_that_clients_use_and_the_linter_does_not_know(authority: Authority, name: str) -> None:
    # RFC 1034 section 3.5 has names of one label, and RFC 9525 section 6.3 wildcards; pkilint has neither.
    broker = authority.issue_server([name])
    assert lint.errors(broker.certificate) == ["pkix.invalid_domain_name_syntax"]
    names = broker.x509().extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [name]
