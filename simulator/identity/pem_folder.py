"""Which PEM files of a folder belong to one device, by their names alone.

Two layouts, which may be mixed. A folder for each device, named after it, with one private key:

    core2-00001/certificate.pem    core2-00001/key.pem

or files side by side, whose names begin with the device's:

    core2-00001.crt                core2-00001.key
    core2-00001-certificate.pem.crt, core2-00001-private.pem.key      (as AWS IoT names them)

Knows nothing of what the files hold, except which of them hold a private key.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from simulator.errors import FleetError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from simulator.identity.pem_file import PemFile

__all__ = ["FileGroup", "groups", "pem_paths"]

_SUFFIXES = {".pem", ".crt", ".cert", ".cer", ".key"}
_ENDINGS = re.compile(r"(\.(pem|crt|cert|cer|key|private|public))+$", re.IGNORECASE)
_ROLE = re.compile(
    r"(^|[-_.])(certificate|cert|crt|private[-_]?key|private|key|public[-_]?key|public|fullchain|chain)$",
    re.IGNORECASE,
)
_AUTHORITY = re.compile(r"(.*[-_. ])?(ca|root|rootca|issuing|intermediate)([-_. ]?\d+)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class FileGroup:
    """Files that should make up one credential; ``name`` is the device's, by folder or file name."""

    name: str
    files: tuple[PemFile, ...]

    @property
    def is_named_as_authority(self) -> bool:
        """Whether the name says that these files are an authority's, as ``ca`` or ``root-2026`` does."""
        return _AUTHORITY.fullmatch(self.name) is not None

    @property
    def where(self) -> str:
        """The files, for a message."""
        return ", ".join(str(file.path) for file in self.files)


def pem_paths(folder: Path) -> list[Path]:
    """Return the files of ``folder`` and of the folders in it that are PEM by their suffix, sorted.

    Raises ``FleetError`` where there is no such folder, or nothing in it to import.
    """
    if not folder.is_dir():
        raise FleetError(f"there is no folder {folder} to import certificates from")
    paths = sorted(path for depth in ("*", "*/*") for path in folder.glob(depth))
    found = [path for path in paths if path.suffix.lower() in _SUFFIXES and path.is_file()]
    if not found:
        raise FleetError(f"{folder} holds no files that end in {', '.join(sorted(_SUFFIXES))}")
    return found


def groups(folder: Path, files: Iterable[PemFile]) -> list[FileGroup]:
    """Return the files in groups, each of one device, or of a certificate authority."""
    by_folder: dict[Path, list[PemFile]] = defaultdict(list)
    for file in files:
        by_folder[file.path.parent].append(file)
    return [
        group
        for parent, inside in by_folder.items()
        for group in _groups_of(parent, inside, is_device=parent != folder)
    ]


def _groups_of(parent: Path, files: list[PemFile], *, is_device: bool) -> list[FileGroup]:
    if is_device and sum(bool(file.keys) for file in files) <= 1:
        return [FileGroup(parent.name, tuple(files))]
    by_stem: dict[str, list[PemFile]] = defaultdict(list)
    for file in files:
        by_stem[device_stem(file.path.name) or parent.resolve().name].append(file)
    return [FileGroup(stem, tuple(inside)) for stem, inside in by_stem.items()]


def device_stem(name: str) -> str:
    """Return a file's name without its suffixes and without the word that says which part it is.

    Empty where nothing is left, as of ``key.pem``: then the folder names the device.
    """
    return _ROLE.sub("", _ENDINGS.sub("", name))
