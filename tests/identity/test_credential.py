from __future__ import annotations

import hashlib
import pickle
from datetime import timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from simulator.identity import pem
from simulator.identity.credential import Credential

if TYPE_CHECKING:
    from simulator.identity.authority import Authority


def test_what_the_leaf_says(authority: Authority) -> None:
    credential = authority.issue_device("core2-00001", validity=timedelta(days=1))
    leaf = x509.load_der_x509_certificate(credential.certificate)
    assert credential.serial_number == leaf.serial_number
    assert (credential.not_before, credential.not_after) == (
        leaf.not_valid_before_utc,
        leaf.not_valid_after_utc,
    )
    assert credential.fingerprint == hashlib.sha256(credential.certificate).hexdigest()


def test_the_chain_is_in_the_order_that_tls_sends(authority: Authority) -> None:
    credential = authority.issue_device("core2-00001")
    parsed = x509.load_pem_x509_certificates(credential.chain_pem().encode("ascii"))
    ders = [one.public_bytes(serialization.Encoding.DER) for one in parsed]
    assert ders == [credential.certificate, authority.issuing]
    assert credential.certificate_pem() + pem.certificates(credential.chain) == credential.chain_pem()


def test_it_travels_to_another_process(authority: Authority) -> None:
    credential = authority.issue_device("core2-00001")
    assert pickle.loads(pickle.dumps(credential)) == credential


def test_the_key_does_not_show(authority: Authority) -> None:
    credential = authority.issue_device("core2-00001")
    for shown in (repr(credential), str(credential), f"{credential}", repr([credential])):
        assert credential.fingerprint[:16] in shown
        assert len(shown) < 80
    assert repr(credential.key) not in repr(credential)


def test_a_leaf_without_intermediates() -> None:
    assert Credential(b"leaf", b"key").chain == ()
