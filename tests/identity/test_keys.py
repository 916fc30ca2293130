from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa

from simulator.errors import FleetError
from simulator.identity import keys
from simulator.scenario.kinds import KeyKind

EXPECTED = {
    KeyKind.EC_P256: (ec.EllipticCurvePublicKey, 256, "sha256"),
    KeyKind.EC_P384: (ec.EllipticCurvePublicKey, 384, "sha384"),
    KeyKind.ED25519: (ed25519.Ed25519PublicKey, None, None),
    KeyKind.RSA_2048: (rsa.RSAPublicKey, 2048, "sha256"),
    KeyKind.RSA_3072: (rsa.RSAPublicKey, 3072, "sha256"),
}


@pytest.mark.parametrize("kind", KeyKind)
def test_a_key_is_of_its_kind_and_survives_encoding(kind: KeyKind) -> None:
    family, size, hash_name = EXPECTED[kind]
    key = keys.generate(kind)
    public = key.public_key()
    assert isinstance(public, family)
    assert getattr(public, "key_size", None) == size
    again = keys.decode(keys.encode(key))
    assert again.public_key() == public
    chosen = keys.issuing_hash(key)
    assert (chosen.name if chosen else None) == hash_name


def test_a_p256_key_is_on_the_curve_that_its_name_says() -> None:
    key = keys.generate(KeyKind.EC_P256)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert key.curve.name == "secp256r1"


def test_many_keys_are_all_different() -> None:
    made = list(keys.generate_many(KeyKind.EC_P256, 50))
    assert len({keys.encode(key) for key in made}) == 50


def test_many_rsa_keys() -> None:
    assert len({keys.encode(key) for key in keys.generate_many(KeyKind.RSA_2048, 3)}) == 3


def test_an_ed448_key_from_outside_is_decoded_and_hashes_by_itself() -> None:
    key = ed448.Ed448PrivateKey.generate()
    assert isinstance(keys.decode(keys.encode(key)), ed448.Ed448PrivateKey)
    assert keys.issuing_hash(key) is None


def test_bytes_that_are_no_key_are_refused_and_never_quoted() -> None:
    secret = b"0\x82 not a key but a secret"
    with pytest.raises(FleetError, match="damaged") as refused:
        keys.decode(secret)
    assert "secret" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_a_key_that_tls_cannot_use_is_refused() -> None:
    der = dsa.generate_private_key(1024).private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(FleetError, match="of a kind"):
        keys.decode(der)
