from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st

from simulator.identity import pem

if TYPE_CHECKING:
    from simulator.identity.authority import Authority


@given(st.binary(min_size=1, max_size=300))
def test_the_text_is_what_the_standard_library_writes(der: bytes) -> None:
    assert pem.certificates([der]) == ssl.DER_cert_to_PEM_cert(der)


def test_a_key_is_what_the_cryptography_library_reads(authority: Authority) -> None:
    der = authority.issue_device("core2-00001").key
    key = serialization.load_pem_private_key(pem.private_key(der).encode("ascii"), password=None)
    encoded = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    assert encoded == der


def test_blocks_are_found_between_comments(authority: Authority) -> None:
    text = (
        f"subject=root\r\n{authority.root_pem}\nsubject=issuing\n{pem.certificates([authority.issuing])}junk"
    )
    found = pem.blocks(text.encode("ascii"))
    assert [block.label for block in found] == ["CERTIFICATE", "CERTIFICATE"]
    first = x509.load_pem_x509_certificate(found[0].text)
    assert first.public_bytes(serialization.Encoding.DER) == authority.root


def test_a_block_that_ends_with_another_label_is_none() -> None:
    assert pem.blocks(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END PRIVATE KEY-----\n") == []
