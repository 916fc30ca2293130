"""A folder of PEM files as credentials: the certificates that people already have, from any authority.

Reads every file, pairs keys with certificates, puts chains in order, and finds the roots. What cannot be used
is reported all at once, with the file; what can be used but may surprise is a warning.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from simulator import clock
from simulator.errors import FleetError
from simulator.identity import keys, pem_file
from simulator.identity.credential import Credential
from simulator.identity.naming import check_name
from simulator.identity.pem_file import PemFile
from simulator.identity.pem_folder import groups, pem_paths
from simulator.identity.trust import find_path, is_authority, vouches_for

if TYPE_CHECKING:
    from pathlib import Path

    from simulator.identity.keys import PrivateKey
    from simulator.identity.pem_folder import FileGroup

__all__ = ["Imported", "NameFrom", "import_folder"]

_ROOTLESS = "without a root (put it beside them as ca.pem, or use a broker that already trusts it)"
_SHOWN = 30  # problems in full; a folder of ten thousand can have the same one everywhere


class NameFrom(StrEnum):
    """Where the name of an imported device comes from."""

    FILE = "file"
    COMMON_NAME = "cn"


@dataclass(frozen=True, slots=True)
class Imported:
    """What a folder held; ``trust_anchors`` are the roots (DER) that vouch for some credential."""

    credentials: tuple[tuple[str, Credential], ...]
    trust_anchors: tuple[bytes, ...]
    warnings: tuple[str, ...]


def import_folder(folder: Path, *, names: NameFrom = NameFrom.FILE) -> Imported:
    """Read the credentials in ``folder`` (layouts: ``simulator.identity.pem_folder``).

    Raises one ``FleetError`` with a sentence for each mistake: a key and a certificate that do not belong
    together, one without the other, an encrypted key, a file that is damaged, a name that no device can have,
    one device or certificate twice.
    """
    importer = _Importer(names)
    files = importer.read(pem_paths(folder))
    importer.add(groups(folder, files))
    return importer.result(folder)


class _Importer:
    """Collects devices, problems and warnings; a problem with one device does not stop the others."""

    def __init__(self, names: NameFrom) -> None:
        self._names = names
        self._problems: list[str] = []
        self._unreadable: set[Path] = set()
        self._warned: dict[str, list[str]] = defaultdict(list)
        self._authorities: dict[x509.Certificate, Path] = {}
        self._vouching: set[x509.Certificate] = set()
        self._roots: dict[bytes, None] = {}
        self._credentials: dict[str, Credential] = {}
        self._seen: dict[str, str] = {}  # where each device, and each certificate, was found first

    def read(self, paths: list[Path]) -> list[PemFile]:
        return [self._read(path) for path in paths]

    def add(self, found: list[FileGroup]) -> None:
        devices = [group for group in found if not self._take_authority(group)]
        for group in devices:
            # What a file that could not be read leaves behind is one problem, and was told as one.
            if self._unreadable.isdisjoint(file.path for file in group.files):
                try:
                    self._add_device(group)
                except FleetError as problem:
                    self._problems.append(str(problem))

    def result(self, folder: Path) -> Imported:
        if not self._problems and not self._credentials:
            self._problems.append("it holds no certificate with its private key")
        if self._problems:
            shown = self._problems[:_SHOWN]
            if more := len(self._problems) - len(shown):
                shown.append(f"and {more} more like these")
            raise FleetError(f"cannot import {folder}:\n" + "\n".join(f"- {problem}" for problem in shown))
        for certificate, path in self._authorities.items():
            if certificate not in self._vouching:
                self._warned["left out, since it vouches for none of the certificates"].append(str(path))
        return Imported(
            tuple(self._credentials.items()),
            tuple(self._roots),
            tuple(_warning(what, which) for what, which in self._warned.items()),
        )

    def _read(self, path: Path) -> PemFile:
        try:
            return pem_file.read(path)
        except FleetError as problem:
            self._problems.append(str(problem))
            self._unreadable.add(path)
            return PemFile(path, (), ())

    def _take_authority(self, group: FileGroup) -> bool:
        """Keep the certificates of a group that is an authority, never its key; return whether it is one."""
        certificates = [(one, file.path) for file in group.files for one in file.certificates]
        has_key = any(file.keys for file in group.files)
        if has_key and not group.is_named_as_authority:
            return False
        if all(is_authority(one) for one, _ in certificates):
            self._authorities.update(certificates)
            return True
        # What a fleet of self-signed devices is trusted by: the devices' own certificates, once more.
        return group.is_named_as_authority and all(vouches_for(one, one) for one, _ in certificates)

    def _add_device(self, group: FileGroup) -> None:
        leaf, key, others = _pair(group)
        device = self._name(group, leaf)
        self._refuse_twice(f"the device {device}", group.where)
        self._refuse_twice(f"the certificate with serial number {leaf.serial_number:x}", group.where, leaf)
        trust = find_path(leaf, [*others, *self._authorities])
        self._vouching.update(trust.intermediates)
        if trust.root is not None:
            self._vouching.add(trust.root)
            self._roots[_der(trust.root)] = None
        self._credentials[device] = Credential(
            _der(leaf), keys.encode(key), tuple(_der(one) for one in trust.intermediates)
        )
        self._warn(device, leaf, rooted=trust.root is not None)

    def _name(self, group: FileGroup, leaf: x509.Certificate) -> str:
        name = group.name
        if self._names is NameFrom.COMMON_NAME:
            found = leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
            if len(found) != 1:
                raise FleetError(f"{group.where}: the certificate has {len(found)} common names, and not one")
            name = str(found[0].value)
        try:
            return check_name(name)
        except FleetError as problem:
            raise FleetError(f"{group.where}: {problem}") from None

    def _refuse_twice(self, what: str, where: str, leaf: x509.Certificate | None = None) -> None:
        mark = what if leaf is None else _der(leaf).hex()
        first = self._seen.setdefault(mark, where)
        if first != where:
            raise FleetError(f"{what} is there twice: in {first}, and in {where}")

    def _warn(self, device: str, leaf: x509.Certificate, *, rooted: bool) -> None:
        now = clock.wall()
        if leaf.not_valid_after_utc <= now:
            self._warned["expired"].append(device)
        if leaf.not_valid_before_utc > now:
            self._warned["not valid yet"].append(device)
        if not _for_clients(leaf):
            self._warned["not meant for TLS clients, so that brokers refuse it"].append(device)
        if not rooted:
            self._warned[_ROOTLESS].append(device)


def _pair(group: FileGroup) -> tuple[x509.Certificate, PrivateKey, list[x509.Certificate]]:
    """Return the leaf, its key, and the other certificates of a group."""
    private = [(key, file.path) for file in group.files for key in file.keys]
    holders = [str(file.path) for file in group.files if file.certificates]
    if not private:
        raise FleetError(f"{group.where}: there is no private key for it, in a file named alike")
    if len(private) > 1:
        raise FleetError(f"{group.where}: there are {len(private)} private keys for one device, {group.name}")
    ((key, path),) = private
    if not holders:
        raise FleetError(f"{path}: there is no certificate for this private key, in a file named alike")
    certificates = dict.fromkeys(one for file in group.files for one in file.certificates)
    own = [one for one in certificates if one.public_key() == key.public_key()]
    if not own:
        raise FleetError(
            f"the private key in {path} does not belong to the certificate in {', '.join(holders)}"
        )
    if len(own) > 1:
        raise FleetError(f"{group.where}: there are {len(own)} certificates for one device, {group.name}")
    return own[0], key, [one for one in certificates if one != own[0]]


def _for_clients(leaf: x509.Certificate) -> bool:
    try:
        purposes = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return not {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}.isdisjoint(
        purposes
    )


def _warning(what: str, which: list[str]) -> str:
    more = f" and {len(which) - 1} more" if len(which) > 1 else ""
    return f"{what}: {which[0]}{more}"


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)
