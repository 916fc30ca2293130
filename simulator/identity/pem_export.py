"""A fleet as a folder of PEM files, for tools that take nothing else.

<folder>/ca.pem                      what a broker must trust to accept the fleet
<folder>/<device>/certificate.pem    the leaf, then its intermediates
<folder>/<device>/key.pem            readable by its owner only
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from simulator.errors import FleetError
from simulator.identity import pem
from simulator.identity.naming import check_name

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from simulator.identity.credential import Credential

__all__ = ["CERTIFICATE_FILE", "KEY_FILE", "TRUST_FILE", "export_folder"]

TRUST_FILE = "ca.pem"
CERTIFICATE_FILE = "certificate.pem"
KEY_FILE = "key.pem"


def export_folder(
    folder: Path, credentials: Iterable[tuple[str, Credential]], trust_anchors: Iterable[bytes]
) -> int:
    """Write the files into a new or empty folder, and return for how many devices.

    Raises ``FleetError`` where the folder holds something already: nothing is ever overwritten.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise FleetError(f"{folder} is not empty: export into a new folder")
        (folder / TRUST_FILE).write_text(pem.certificates(trust_anchors), encoding="ascii")
        return sum(_export_device(folder / check_name(device), one) for device, one in credentials)
    except OSError as error:
        raise FleetError(f"cannot export to {error.filename or folder}: {error.strerror}") from error


def _export_device(folder: Path, credential: Credential) -> int:
    folder.mkdir(mode=0o700)
    (folder / CERTIFICATE_FILE).write_text(credential.chain_pem(), encoding="ascii")
    key = os.open(folder / KEY_FILE, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(key, "w", encoding="ascii") as file:
        file.write(credential.key_pem())
    return 1
