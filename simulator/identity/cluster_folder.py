"""The certificates of a cluster: who may be in it, as folders of PEM files, one for each role.

    <folder>/<role>/ca.pem             whom this role lets in: everybody with a certificate of this authority
    <folder>/<role>/certificate.pem    its own certificate, then the intermediate
    <folder>/<role>/key.pem            readable by its owner only

The authority has no other use, and its keys are never written: nobody can make one more certificate of it.
Knows nothing of what a cluster is.
"""

from __future__ import annotations

import stat
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from simulator import clock
from simulator.errors import FleetError
from simulator.identity import pem_file
from simulator.identity.authority import Authority
from simulator.identity.pem_export import CERTIFICATE_FILE, KEY_FILE, TRUST_FILE, export_folder
from simulator.identity.pem_pair import read_pair
from simulator.identity.trust import find_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from simulator.identity.credential import Credential

__all__ = ["CLUSTER_VALIDITY", "Role", "RoleFiles", "export_cluster", "role_files"]

CLUSTER_VALIDITY = timedelta(days=90)

_MARGIN = timedelta(hours=1)
"""That an authority outlives the certificates which it signs a moment later."""
_ROOT = 0


class Role(StrEnum):
    """What a process is in a cluster, and the name of its folder."""

    CLIENT = "client"
    SCHEDULER = "scheduler"
    WORKER = "worker"


class RoleFiles(NamedTuple):
    """The files of one role, checked."""

    trust: Path
    certificate: Path
    key: Path


def export_cluster(folder: Path, validity: timedelta = CLUSTER_VALIDITY) -> None:
    """Make an authority and a credential for each role, and write the credentials into a new or empty folder.

    Raises ``FleetError`` where the folder holds something already, and for a validity that is none.
    """
    authority = Authority.create("Cluster", validity=validity + _MARGIN)
    export_folder(folder, _credentials(authority, validity), [authority.root])
    (folder / TRUST_FILE).unlink()
    for role in Role:
        (folder / role / TRUST_FILE).write_text(authority.root_pem, encoding="ascii")


def _credentials(authority: Authority, validity: timedelta) -> Iterator[tuple[str, Credential]]:
    """Yield each role's credential; only who is connected to has one that a TLS client accepts."""
    yield Role.CLIENT, authority.issue_device(Role.CLIENT, validity=validity)
    for role in (Role.SCHEDULER, Role.WORKER):
        yield role, authority.issue_node(role, validity=validity)


def role_files(folder: Path, role: Role) -> RoleFiles:
    """Return the files of ``role`` in its folder, after all that can be wrong with them was looked for.

    Raises ``FleetError``: a file is missing, readable by others, damaged or out of date, key and certificate
    are strangers, or the certificate is not one of the authority's, or not one for this role.
    """
    files = RoleFiles(folder / TRUST_FILE, folder / CERTIFICATE_FILE, folder / KEY_FILE)
    try:
        _check_presence(folder, files, role)
        _check_privacy(files.key)
    except OSError as error:
        raise FleetError(f"cannot read {error.filename}: {error.strerror}") from None
    leaf = read_pair(files.certificate, files.key).x509()
    _check_dates(files.certificate, leaf, clock.wall())
    _check_purpose(files.certificate, leaf, role)
    _check_issuer(files)
    return files


def _check_presence(folder: Path, files: RoleFiles, role: Role) -> None:
    missing = [path.name for path in files if not path.exists()]
    if (folder / role).is_dir():
        raise FleetError(f"{folder} holds the folders of all roles: name {folder / role}")
    if missing:
        raise FleetError(
            f"{folder} holds no {missing[0]}: it should be the folder {role} that"
            " `simulator cluster certificates` has made"
        )


def _check_privacy(key: Path) -> None:
    """Refuse a key that others can read; a group may, where it is root who lets it, as Kubernetes does."""
    status = key.stat()
    private = stat.S_IRWXO | (stat.S_IWGRP if status.st_uid == _ROOT else stat.S_IRWXG)
    if status.st_mode & private:
        raise FleetError(f"others can read the private key in {key}: chmod 600 {key}")


def _check_dates(path: Path, leaf: x509.Certificate, now: datetime) -> None:
    if now < leaf.not_valid_before_utc:
        raise FleetError(
            f"the certificate in {path} is valid from {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC on only:"
            " set this machine's clock"
        )
    if now >= leaf.not_valid_after_utc:
        raise FleetError(
            f"the certificate in {path} expired on {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC: make new"
            " ones with `simulator cluster certificates`, and copy them to all machines"
        )


def _check_purpose(path: Path, leaf: x509.Certificate, role: Role) -> None:
    """Refuse a client's certificate where peers connect to: they would not accept it."""
    try:
        purposes = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return
    if role is not Role.CLIENT and ExtendedKeyUsageOID.SERVER_AUTH not in purposes:
        raise FleetError(
            f"the certificate in {path} is a client's, and a {role} needs its own: name the folder {role}"
        )


def _check_issuer(files: RoleFiles) -> None:
    leaf, *intermediates = pem_file.read(files.certificate).certificates
    roots = pem_file.read(files.trust).certificates
    if find_path(leaf, (*intermediates, *roots)).root not in roots:
        raise FleetError(
            f"the certificate in {files.certificate} is not of the authority in {files.trust}: copy the whole"
            " folder of one cluster"
        )
