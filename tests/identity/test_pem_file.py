from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa, x25519

from simulator.errors import FleetError
from simulator.identity import pem
from simulator.identity.keys import decode
from simulator.identity.pem_file import read
from tests.support.tools import require

if TYPE_CHECKING:
    from pathlib import Path

    from simulator.identity.authority import Authority

NO_PASSWORD = serialization.NoEncryption()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "core2-00001.pem"


def pem_of(
    key: ec.EllipticCurvePrivateKey | dsa.DSAPrivateKey | rsa.RSAPrivateKey | x25519.X25519PrivateKey,
    form: serialization.PrivateFormat = serialization.PrivateFormat.PKCS8,
    protection: serialization.KeySerializationEncryption = NO_PASSWORD,
) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, form, protection)


def test_a_certificate_with_its_chain_and_key_in_one_file(path: Path, authority: Authority) -> None:
    credential = authority.issue_device("a")
    path.write_text(f"Bag Attributes\n{credential.chain_pem()}\n{credential.key_pem()}")
    file = read(path)
    assert [one.public_bytes(serialization.Encoding.DER) for one in file.certificates] == [
        credential.certificate,
        authority.issuing,
    ]
    assert [key.public_key() for key in file.keys] == [decode(credential.key).public_key()]


def test_a_traditional_key_with_parameters_before_it(path: Path) -> None:
    openssl = require("openssl")
    subprocess.run(
        [openssl, "ecparam", "-name", "prime256v1", "-genkey", "-out", path], check=True, capture_output=True
    )
    assert b"EC PARAMETERS" in path.read_bytes()
    assert len(read(path).keys) == 1


def test_what_is_beside_the_point_is_passed_over(path: Path) -> None:
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    path.write_bytes(
        public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    assert read(path).keys == read(path).certificates == ()


@pytest.mark.parametrize(
    "form", [serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL]
)
def test_an_encrypted_key_is_not_guessed_at(path: Path, form: serialization.PrivateFormat) -> None:
    path.write_bytes(
        pem_of(ec.generate_private_key(ec.SECP256R1()), form, serialization.BestAvailableEncryption(b"word"))
    )
    with pytest.raises(FleetError, match=r"core2-00001\.pem is encrypted: decrypt it with `openssl pkey -in"):
        read(path)


@pytest.mark.parametrize("key", [dsa.generate_private_key(1024), x25519.X25519PrivateKey.generate()])
def test_a_key_that_tls_cannot_authenticate_with(
    path: Path, key: dsa.DSAPrivateKey | x25519.X25519PrivateKey
) -> None:
    path.write_bytes(pem_of(key))
    with pytest.raises(FleetError, match=r"core2-00001\.pem is of a kind"):
        read(path)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "holds no PEM"),
        (b"0\x82\x01\x0a", "holds no PEM"),
        (pem.wrap("CERTIFICATE", b"no certificate").encode(), "a certificate that is damaged"),
        (pem.private_key(b"no key, a secret").encode(), "the private key in .* is damaged"),
        (b"-----BEGIN CERTIFICATE-----\n%%%\n-----END CERTIFICATE-----\n", "a certificate that is damaged"),
        (pem.wrap("PGP MESSAGE", b"x").encode(), "holds PGP MESSAGE, and neither"),
    ],
)
def test_a_file_that_is_not_what_it_should_be(path: Path, content: bytes, why: str) -> None:
    path.write_bytes(content)
    with pytest.raises(FleetError, match=why) as refused:
        read(path)
    assert str(path) in str(refused.value)
    assert "secret" not in str(refused.value)


def test_an_rsa_key_whose_numbers_do_not_fit(path: Path) -> None:
    good, other = (rsa.generate_private_key(65537, 2048).private_numbers() for _ in range(2))
    mixed = rsa.RSAPrivateNumbers(
        good.p, good.q, other.d, other.dmp1, good.dmq1, good.iqmp, good.public_numbers
    )
    path.write_bytes(pem_of(mixed.private_key(unsafe_skip_rsa_key_validation=True)))
    with pytest.raises(FleetError, match=r"the private key in .*core2-00001\.pem is damaged"):
        read(path)


def test_a_certificate_cut_short(path: Path, authority: Authority) -> None:
    path.write_text(pem.certificates([authority.root[:-20]]))
    with pytest.raises(FleetError, match="damaged"):
        read(path)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FleetError, match=r"cannot read .*: No such file"):
        read(tmp_path / "gone.pem")
