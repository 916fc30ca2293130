"""Certificates that vouch for themselves."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from simulator import clock
from simulator.errors import FleetError
from simulator.identity.keys import decode
from simulator.identity.record import Status
from simulator.identity.self_signed import self_signed, self_signed_many
from simulator.identity.store import FleetStore
from simulator.identity.trust import is_authority, vouches_for
from simulator.scenario.kinds import KeyKind
from tests.identity import lint
from tests.identity.conftest import authority_of


@pytest.mark.parametrize("kind", list(KeyKind))
def test_it_is_a_sound_certificate_that_vouches_for_itself_and_nobody_else(kind: KeyKind) -> None:
    credential = self_signed("core2-00001", key=kind)
    certificate = credential.x509()
    assert lint.errors(credential.certificate) == []
    assert vouches_for(certificate, certificate)
    assert not is_authority(certificate)
    assert credential.chain == ()
    assert certificate.subject.rfc4514_string() == certificate.issuer.rfc4514_string() == "CN=core2-00001"
    assert decode(credential.key).public_key() == certificate.public_key()
    purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(purposes) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_it_lasts_as_long_as_it_is_told_to() -> None:
    start = clock.wall().replace(microsecond=0) - timedelta(days=3)
    credential = self_signed("a", validity=timedelta(days=2), not_before=start)
    assert (credential.not_before, credential.not_after) == (start, start + timedelta(days=2))


def test_a_name_that_no_device_can_have_is_refused() -> None:
    with pytest.raises(FleetError, match="topics"):
        self_signed("a/b")


@pytest.mark.parametrize("kind", [KeyKind.EC_P256, KeyKind.RSA_2048])
def test_many_come_in_order(kind: KeyKind) -> None:
    made = list(self_signed_many(["a", "b", "c"], key=kind))
    assert [one.x509().subject.rfc4514_string() for one in made] == ["CN=a", "CN=b", "CN=c"]


def test_a_fleet_of_them_trusts_each_and_forgets_whom_it_revokes() -> None:
    with FleetStore.in_memory() as fleet:
        fleet.issue(3, self_signed=True)
        first, second, third = (credential.certificate for _, credential in fleet.credentials())
        assert list(fleet.trust_anchors) == [first, second, third]
        fleet.revoke("device-00002")
        assert list(fleet.trust_anchors) == [first, third]
        summary = fleet.summary()
        assert (summary.authority, summary.self_signed) == (None, 2)
        assert summary.certificates[Status.REVOKED] == 1
        fleet.issue(1, self_signed=True)
        assert fleet.names() == ["device-00001", "device-00003", "device-00004"]


def test_they_do_not_mix_with_those_of_an_authority() -> None:
    authority = authority_of(KeyKind.EC_P256)
    with FleetStore.in_memory(authority) as fleet:
        with pytest.raises(FleetError, match="has the authority 'Acme': self-signed certificates need a"):
            fleet.issue(1, self_signed=True)
        assert fleet.names() == []
    with FleetStore.in_memory() as fleet, pytest.raises(FleetError, match="holds no authority to issue with"):
        fleet.issue(1)
