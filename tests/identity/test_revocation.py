"""Revocation lists, judged by a public linter and by OpenSSL."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from simulator import clock
from simulator.errors import FleetError
from simulator.identity import keys, pem
from simulator.identity.record import Reason, Status
from simulator.identity.revocation import CRL_VALIDITY, updates
from simulator.identity.self_signed import self_signed
from simulator.identity.store import FleetStore
from simulator.scenario.kinds import KeyKind
from tests.identity import lint
from tests.identity.conftest import authority_of
from tests.support.tools import require

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from simulator.identity.authority import Authority


@pytest.fixture
def fleet(authority: Authority) -> Iterator[FleetStore]:
    with FleetStore.in_memory(authority) as store:
        store.issue(4)
        yield store


def lists(fleet: FleetStore) -> tuple[x509.CertificateRevocationList, x509.CertificateRevocationList]:
    issuing, root = map(x509.load_der_x509_crl, fleet.revocation_lists())
    return issuing, root


def number(crl: x509.CertificateRevocationList) -> int:
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def reason(entry: x509.RevokedCertificate) -> str | None:
    try:
        return entry.extensions.get_extension_for_class(x509.CRLReason).value.reason.value
    except x509.ExtensionNotFound:
        return None


@pytest.mark.parametrize("kind", list(KeyKind))
def test_the_linter_finds_no_error_whatever_the_key(kind: KeyKind) -> None:
    with FleetStore.in_memory(authority_of(kind)) as fleet:
        fleet.issue(["a", "b", "c"])
        for crl in fleet.revocation_lists():
            assert lint.crl_errors(crl) == []
        fleet.revoke("a")
        fleet.revoke("b", reason=Reason.KEY_COMPROMISE)
        for crl in fleet.revocation_lists():
            assert lint.crl_errors(crl) == []


def test_the_linter_finds_what_is_forgotten(authority: Authority) -> None:
    span, key = updates(CRL_VALIDITY), keys.decode(authority.issuing_credential.key)
    form = x509.CertificateRevocationListBuilder(authority.issuing_credential.x509().subject)
    crl = form.last_update(span.this).next_update(span.following).sign(key, keys.issuing_hash(key))
    assert lint.crl_errors(crl.public_bytes(Encoding.DER)) != []


@pytest.mark.parametrize("reason_", [one for one in Reason if one is not Reason.UNSPECIFIED])
def test_every_reason_is_kept_and_listed(fleet: FleetStore, reason_: Reason) -> None:
    fleet.revoke("device-00001", reason=reason_)
    issuing, _ = lists(fleet)
    assert [reason(entry) for entry in issuing] == [reason_]
    assert lint.crl_errors(fleet.revocation_lists()[0]) == []


def test_the_issuing_authority_lists_the_devices_and_the_root_nothing(
    fleet: FleetStore, authority: Authority
) -> None:
    credential = fleet.credential("device-00002")
    before = clock.wall() - timedelta(seconds=1)
    fleet.revoke("device-00002")
    issuing, root = lists(fleet)
    (entry,) = issuing
    assert entry.serial_number == credential.serial_number
    assert before <= entry.revocation_date_utc <= clock.wall()
    assert reason(entry) is None
    assert issuing.issuer == authority.issuing_credential.x509().subject
    assert root.issuer == authority.root_credential.x509().subject
    assert list(root) == []


def test_revoking_a_superseded_certificate_lists_that_one(fleet: FleetStore, authority: Authority) -> None:
    first = fleet.credential("device-00001")
    fleet.add("device-00001", authority.issue_device("device-00001"))
    fleet.revoke("device-00001", generation=1)
    issuing, _ = lists(fleet)
    assert [entry.serial_number for entry in issuing] == [first.serial_number]


def test_certificates_of_others_are_not_listed(fleet: FleetStore) -> None:
    fleet.add("mine", self_signed("mine"))
    fleet.revoke("mine")
    assert list(lists(fleet)[0]) == []


def test_each_list_is_newer_than_the_one_before(fleet: FleetStore, authority: Authority) -> None:
    series = [lists(fleet) for _ in range(5)]
    for which in (0, 1):
        crls = [both[which] for both in series]
        assert [number(crl) for crl in crls] == [1, 2, 3, 4, 5]
        times = [crl.last_update_utc for crl in crls]
        assert all(later > earlier for earlier, later in pairwise(times))
        assert times[-1] <= clock.wall()


def test_a_list_names_the_key_that_signed_it(fleet: FleetStore, authority: Authority) -> None:
    issuing, _ = lists(fleet)
    signer = authority.issuing_credential.x509()
    identifier = issuing.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    subject = signer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert identifier.key_identifier == subject.digest


def test_openssl_verifies_signature_list_and_whole_chain(
    fleet: FleetStore, authority: Authority, tmp_path: Path
) -> None:
    openssl = require("openssl")
    fleet.revoke("device-00001")
    issuing, root = fleet.revocation_lists()
    files = {
        "issuing.pem": pem.certificates([authority.issuing]),
        "ca.pem": authority.root_pem,
        "issuing.crl": pem.revocation_lists([issuing]),
        "root.crl": pem.revocation_lists([root]),
        "other.pem": authority_of(KeyKind.ED25519).root_pem,
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    write_leaf(fleet, tmp_path)

    def ask(*words: str) -> tuple[int, str]:
        done = subprocess.run([openssl, *words], cwd=tmp_path, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    for crl, signer in (("issuing.crl", "issuing.pem"), ("root.crl", "ca.pem")):
        code, said = ask("crl", "-in", crl, "-verify", "-CAfile", signer, "-noout")
        assert (code, "verify OK" in said) == (0, True), said
    assert "verify OK" not in ask("crl", "-in", "issuing.crl", "-verify", "-CAfile", "other.pem", "-noout")[1]
    chain = (
        "-CAfile",
        "ca.pem",
        "-untrusted",
        "issuing.pem",
        "-CRLfile",
        "issuing.crl",
        "-CRLfile",
        "root.crl",
    )
    code, said = ask("verify", "-crl_check_all", *chain, "neighbour.pem")
    assert (code, said.strip()) == (0, "neighbour.pem: OK")
    code, said = ask("verify", "-crl_check_all", *chain, "revoked.pem")
    assert code != 0
    assert "certificate revoked" in said
    assert ask("verify", *chain, "revoked.pem")[0] == 0


def write_leaf(fleet: FleetStore, folder: Path) -> None:
    ((_, revoked),) = fleet.credentials(status=Status.REVOKED)
    (folder / "revoked.pem").write_text(revoked.certificate_pem())
    (folder / "neighbour.pem").write_text(fleet.credential("device-00002").certificate_pem())


def test_a_fleet_without_authority_signs_no_list() -> None:
    with (
        FleetStore.in_memory() as fleet,
        pytest.raises(FleetError, match="no authority to sign a revocation list"),
    ):
        fleet.revocation_lists()


def test_a_list_lasts_as_long_as_it_is_told_to(fleet: FleetStore) -> None:
    ends = []
    for validity in (timedelta(seconds=30), CRL_VALIDITY):
        (crl,) = fleet.revocation_lists(validity)[:1]
        following = x509.load_der_x509_crl(crl).next_update_utc
        assert following is not None
        ends.append(following - clock.wall())
    assert timedelta(seconds=28) < ends[0] <= timedelta(seconds=31)
    assert timedelta(days=6, hours=23) < ends[1] <= timedelta(days=7, seconds=1)


def test_a_list_is_never_without_duration_nor_older_than_the_one_before() -> None:
    future = clock.wall() + timedelta(hours=1)
    times = updates(timedelta(seconds=1), after=future)
    assert future < times.this < times.following
    with pytest.raises(FleetError, match="one second at least"):
        updates(timedelta())


def test_thousands_of_entries_are_signed_at_once(authority: Authority) -> None:
    with FleetStore.in_memory(authority) as fleet:
        fleet.issue(3_000)
        assert len(fleet.revoke_many(fleet.names())) == 3_000
        issuing, _ = lists(fleet)
        assert len(issuing) == 3_000
