from __future__ import annotations

import subprocess
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from simulator import clock
from simulator.errors import FleetError
from simulator.identity import pem
from simulator.identity.authority import Authority
from simulator.identity.credential import Credential
from simulator.identity.issuer import Issuer, common_name, device_profile
from simulator.identity.keys import decode
from simulator.identity.pem_import import NameFrom, import_folder
from simulator.identity.validity import Period
from simulator.scenario.kinds import KeyKind
from tests.identity.conftest import authority_of
from tests.support.tools import require

if TYPE_CHECKING:
    from pathlib import Path


def lay(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def flat(name: str, credential: Credential) -> dict[str, str]:
    return {f"{name}.crt": credential.chain_pem(), f"{name}.key": credential.key_pem()}


def problems(folder: Path) -> list[str]:
    """Return the sentences that an import is refused with."""
    with pytest.raises(FleetError) as refused:
        import_folder(folder)
    first, *rest = str(refused.value).splitlines()
    assert first == f"cannot import {folder}:"
    return [line.removeprefix("- ").replace(f"{folder}/", "") for line in rest]


# Layouts


def test_the_layout_of_our_own_export(tmp_path: Path, authority: Authority) -> None:
    one = authority.issue_device("a")
    files = {"a/certificate.pem": one.chain_pem(), "a/key.pem": one.key_pem(), "ca.pem": authority.root_pem}
    imported = import_folder(lay(tmp_path, files))
    assert imported.credentials == (("a", one),)
    assert imported.trust_anchors == (authority.root,)
    assert imported.warnings == ()


@pytest.mark.parametrize("kind", KeyKind)
def test_files_side_by_side_of_any_kind(tmp_path: Path, kind: KeyKind) -> None:
    authority = authority_of(kind)
    one, other = authority.issue_device("a", key=kind), authority.issue_device("b")
    imported = import_folder(
        lay(tmp_path, flat("a", one) | flat("b", other) | {"root.pem": authority.root_pem})
    )
    assert imported.credentials == (("a", one), ("b", other))
    assert imported.trust_anchors == (authority.root,)


def test_the_names_that_aws_gives(tmp_path: Path, authority: Authority) -> None:
    one = authority.issue_device("a")
    files = {
        "9b1f-certificate.pem.crt": one.certificate_pem(),
        "9b1f-private.pem.key": one.key_pem(),
        "AmazonRootCA1.pem": Authority.create("Amazon").root_pem,
    }
    imported = import_folder(lay(tmp_path, files))
    assert imported.credentials == (("9b1f", Credential(one.certificate, one.key)),)
    assert imported.trust_anchors == ()
    without_root, left_out = imported.warnings
    assert without_root.startswith("without a root (put it beside them as ca.pem")
    assert without_root.endswith(": 9b1f")
    assert (
        left_out == f"left out, since it vouches for none of the certificates: {tmp_path}/AmazonRootCA1.pem"
    )


@pytest.mark.parametrize("place", ["intermediate.pem", "a-chain.pem", "ca.pem", "a.key", "cas/issuing.crt"])
def test_the_intermediate_may_be_anywhere(tmp_path: Path, authority: Authority, place: str) -> None:
    one = authority.issue_device("a")
    files = {"a.crt": one.certificate_pem(), "a.key": one.key_pem(), "root.pem": authority.root_pem}
    files[place] = files.get(place, "") + pem.certificates([authority.issuing])
    assert import_folder(lay(tmp_path, files)).credentials == (("a", one),)


def test_the_chain_is_put_in_order_and_the_root_left_out_of_it(tmp_path: Path, authority: Authority) -> None:
    one = authority.issue_device("a")
    upside_down = pem.certificates([authority.root, authority.issuing, one.certificate])
    imported = import_folder(lay(tmp_path, {"a.pem": upside_down + one.key_pem()}))
    assert imported.credentials == (("a", one),)
    assert imported.trust_anchors == (authority.root,)


def test_an_authority_with_its_key_is_no_device_and_its_key_is_not_taken(
    tmp_path: Path, authority: Authority
) -> None:
    one = authority.issue_device("a")
    files = flat("a", one) | {"ca.pem": authority.root_pem, "ca.key": authority.root_credential.key_pem()}
    imported = import_folder(lay(tmp_path, files))
    assert [name for name, _ in imported.credentials] == ["a"]


def test_a_self_signed_certificate_as_openssl_makes_it_is_its_own_trust_anchor(tmp_path: Path) -> None:
    command = [require("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp521r1"]
    command += ["-nodes", "-subj", "/CN=lamp", "-days", "30", "-keyout", "lamp.key", "-out", "lamp.crt"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    imported = import_folder(tmp_path)
    ((name, credential),) = imported.credentials
    assert name == "lamp"
    assert credential.chain == ()
    assert imported.trust_anchors == (credential.certificate,)
    assert imported.warnings == ()


def test_names_by_common_name(tmp_path: Path, authority: Authority) -> None:
    one = authority.issue_device("core2-00001")
    imported = import_folder(lay(tmp_path, flat("9b1f", one)), names=NameFrom.COMMON_NAME)
    assert [name for name, _ in imported.credentials] == ["core2-00001"]


# What is refused


def test_a_key_that_belongs_to_another_certificate(tmp_path: Path, authority: Authority) -> None:
    one, other = authority.issue_device("a"), authority.issue_device("b")
    files = {"a.crt": one.chain_pem(), "a.key": other.key_pem()}
    assert problems(lay(tmp_path, files)) == [
        "the private key in a.key does not belong to the certificate in a.crt"
    ]


def test_one_without_the_other(tmp_path: Path, authority: Authority) -> None:
    one = authority.issue_device("a")
    files = {"a.crt": one.chain_pem(), "b.key": one.key_pem()}
    assert problems(lay(tmp_path, files)) == [
        "a.crt: there is no private key for it, in a file named alike",
        "b.key: there is no certificate for this private key, in a file named alike",
    ]


def test_too_many_of_one(tmp_path: Path, authority: Authority) -> None:
    one, other = authority.issue_device("a"), authority.issue_device("b")
    files = {"a.pem": one.chain_pem() + one.key_pem(), "a.key": other.key_pem()}
    files |= flat("b", other) | {"b.pem": renewed(other)}
    assert problems(lay(tmp_path, files)) == [
        "a.key, a.pem: there are 2 private keys for one device, a",
        "b.crt, b.key, b.pem: there are 2 certificates for one device, b",
    ]


def renewed(credential: Credential) -> str:
    """Return another certificate for the same key."""
    key = decode(credential.key)
    period = Period(credential.not_before, credential.not_after)
    public = key.public_key()
    return pem.certificates(
        [Issuer(common_name("b"), key).certify("b", public, period, device_profile(public))]
    )


def test_every_problem_is_told_at_once_and_once(tmp_path: Path, authority: Authority) -> None:
    one = authority.issue_device("a")
    files = {
        "a.crt": one.chain_pem(),
        "a.key": "no key at all",
        "b/certificate.pem": one.chain_pem().replace("MII", "%%%"),
        "b/key.pem": one.key_pem(),
        "c.key": one.key_pem(),
    }
    told = problems(lay(tmp_path, files))
    assert len(told) == 3
    assert told[0].startswith("a.key holds no PEM")
    assert told[1] == "b/certificate.pem holds a certificate that is damaged, or breaks RFC 5280"
    assert told[2].startswith("c.key: there is no certificate")


def test_the_same_problem_a_thousand_times_is_cut_short(tmp_path: Path, authority: Authority) -> None:
    key = authority.issue_device("a").key_pem()
    told = problems(lay(tmp_path, {f"{number}.key": key for number in range(100)}))
    assert len(told) == 31
    assert told[-1] == "and 70 more like these"


def test_one_certificate_for_two_devices(tmp_path: Path, authority: Authority) -> None:
    one = authority.issue_device("a")
    (told,) = problems(lay(tmp_path, flat("a", one) | flat("b", one)))
    what = f"the certificate with serial number {one.serial_number:x}"
    assert told == f"{what} is there twice: in a.crt, a.key, and in b.crt, b.key"


def test_two_certificates_for_one_device(tmp_path: Path, authority: Authority) -> None:
    one, other = authority.issue_device("a"), authority.issue_device("a")
    files = flat("x", one) | flat("y", other)
    with pytest.raises(FleetError, match=r"the device a is there twice: in .*x\.crt.* and in .*y\.crt"):
        import_folder(lay(tmp_path, files), names=NameFrom.COMMON_NAME)
    assert len(import_folder(tmp_path).credentials) == 2


def test_a_certificate_that_names_nobody(tmp_path: Path) -> None:
    command = [require("openssl"), "req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/O=Acme"]
    subprocess.run(
        [*command, "-keyout", "lamp.key", "-out", "lamp.crt"], cwd=tmp_path, check=True, capture_output=True
    )
    with pytest.raises(FleetError, match="has 0 common names, and not one"):
        import_folder(tmp_path, names=NameFrom.COMMON_NAME)


def test_a_name_that_no_device_can_have(tmp_path: Path, authority: Authority) -> None:
    (told,) = problems(lay(tmp_path, flat("a+b", authority.issue_device("a"))))
    assert told.startswith("a+b.crt, a+b.key: device name 'a+b' holds +")


def test_only_authorities(tmp_path: Path, authority: Authority) -> None:
    assert problems(lay(tmp_path, {"ca.pem": authority.root_pem})) == [
        "it holds no certificate with its private key"
    ]


# What is taken with a warning


def test_expired_and_not_yet_valid_certificates_are_taken(tmp_path: Path, authority: Authority) -> None:
    day = timedelta(days=1)
    past = authority.issue_device("a", validity=day, not_before=clock.wall() - 9 * day)
    older = authority.issue_device("b", validity=day, not_before=clock.wall() - 20 * day)
    future = authority.issue_device("c", validity=day, not_before=clock.wall() + 9 * day)
    files = flat("a", past) | flat("b", older) | flat("c", future) | {"ca.pem": authority.root_pem}
    imported = import_folder(lay(tmp_path, files))
    assert len(imported.credentials) == 3
    assert imported.warnings == ("expired: a and 1 more", "not valid yet: c")


def test_a_certificate_that_is_for_servers(tmp_path: Path, authority: Authority) -> None:
    server = authority.issue_server(["127.0.0.1"])
    imported = import_folder(lay(tmp_path, flat("a", server) | {"ca.pem": authority.root_pem}))
    assert imported.warnings == ("not meant for TLS clients, so that brokers refuse it: a",)
