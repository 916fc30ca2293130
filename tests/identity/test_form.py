"""Certificates that a form makes, against those that the cryptography library writes: octet for octet."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448
from hypothesis import given
from hypothesis import strategies as st

from simulator.identity import keys
from simulator.identity.form import Form
from simulator.identity.issuer import Issuer, common_name, device_profile
from simulator.identity.naming import MAX_LENGTH
from simulator.identity.validity import Period
from simulator.scenario.kinds import KeyKind

if TYPE_CHECKING:
    from simulator.identity.keys import PrivateKey, PublicKey

KEYS: dict[str, PrivateKey] = {kind: keys.generate(kind) for kind in KeyKind}
KEYS["ed448"] = ed448.Ed448PrivateKey.generate()  # an authority's or a device's, brought from elsewhere
ISSUER = "Acme issuing"
PERIOD = Period(datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
LARGEST = 2**159 - 1

# From 1950 to 9999. RFC 5280 section 4.1.2.5: UTCTime until 2049, GeneralizedTime from 2050 on.
moments = st.integers(-631_152_000, 253_402_300_799).map(lambda second: datetime.fromtimestamp(second, UTC))
periods = st.tuples(moments, moments).map(lambda two: Period(min(two), max(two)))
names = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1).filter(
    lambda name: len(name.encode()) <= MAX_LENGTH
)


def written(issuer: PrivateKey, serial_number: int, name: str, key: PublicKey, period: Period) -> bytes:
    """Return the certificate as the library writes it, with the extensions in our order."""
    form = (
        x509.CertificateBuilder()
        .issuer_name(common_name(ISSUER))
        .subject_name(common_name(name))
        .public_key(key)
        .serial_number(serial_number)
        .not_valid_before(period.not_before)
        .not_valid_after(period.not_after)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key()), False)
    )
    for extension, critical in device_profile(key).extensions:
        form = form.add_extension(extension, critical)
    form = form.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    return form.sign(issuer, keys.issuing_hash(issuer)).public_bytes(serialization.Encoding.DER)


def assert_same(ours: bytes, theirs: bytes, issuer: PrivateKey) -> None:
    made, wanted = x509.load_der_x509_certificate(ours), x509.load_der_x509_certificate(theirs)
    assert made.tbs_certificate_bytes == wanted.tbs_certificate_bytes
    above = x509.load_der_x509_certificate(written(issuer, 1, ISSUER, issuer.public_key(), PERIOD))
    made.verify_directly_issued_by(above)
    if not isinstance(issuer, ec.EllipticCurvePrivateKey):  # the others sign the same thing the same way
        assert ours == theirs


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("issuer", KEYS)
def test_a_certificate_is_as_the_library_writes_it(issuer: str, key: str) -> None:
    signing, public = KEYS[issuer], KEYS[key].public_key()
    made = Issuer(common_name(ISSUER), signing).certify("a", public, PERIOD, device_profile(public))
    number = x509.load_der_x509_certificate(made).serial_number
    assert_same(made, written(signing, number, "a", public, PERIOD), signing)


@given(name=names, period=periods)
def test_any_name_and_period_are_as_the_library_writes_them(name: str, period: Period) -> None:
    signing, public = KEYS["ed25519"], KEYS["ec-p256"].public_key()
    made = Issuer(common_name(ISSUER), signing).certify(name, public, period, device_profile(public))
    number = x509.load_der_x509_certificate(made).serial_number
    assert_same(made, written(signing, number, name, public, period), signing)


@given(number=st.integers(1, LARGEST) | st.sampled_from([1, 127, 128, 255, 256, LARGEST]))
def test_any_serial_number_is_as_the_library_writes_it(number: int) -> None:
    signing, public = KEYS["ed25519"], KEYS["ec-p256"].public_key()
    form = Form(written(signing, 1, "specimen", public, PERIOD))
    made = form.filled(number, "a", public, keys.signer(signing))
    assert_same(made, written(signing, number, "a", public, PERIOD), signing)


def test_each_period_and_each_purpose_has_its_own_form() -> None:
    """One issuer, asked in turn: what it made before must not show in what it makes next."""
    signing, public = KEYS["ed25519"], KEYS["rsa-2048"].public_key()
    issuer = Issuer(common_name(ISSUER), signing)
    later = Period(PERIOD.not_before, PERIOD.not_after + timedelta(seconds=1))
    for key in (public, KEYS["ec-p256"].public_key()) * 2:
        for period in (PERIOD, later):
            made = issuer.certify("a", key, period, device_profile(key))
            number = x509.load_der_x509_certificate(made).serial_number
            assert_same(made, written(signing, number, "a", key, period), signing)
