"""One credential from two PEM files: a certificate with its intermediates, and the private key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import Encoding

from simulator.errors import FleetError
from simulator.identity import keys, pem_file
from simulator.identity.credential import Credential

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["read_pair"]


def read_pair(certificate: Path, key: Path) -> Credential:
    """Return the credential; raise FleetError, with the file, where the two do not make one."""
    certificates = pem_file.read(certificate).certificates
    private = pem_file.read(key).keys
    if len(private) != 1:
        raise FleetError(f"{key} holds {len(private)} private keys, and not one")
    if not certificates or certificates[0].public_key() != private[0].public_key():
        raise FleetError(f"the first certificate in {certificate} does not belong to the key in {key}")
    leaf, *chain = (each.public_bytes(Encoding.DER) for each in certificates)
    return Credential(leaf, keys.encode(private[0]), tuple(chain))
