"""How a cluster is kept to those who belong to it: TLS with a certificate on both sides of every connection.

Dask asks for a certificate of one authority, and checks no host name: whoever holds one is in, and who is in
may run any code. So the authority is the cluster's own, and used for nothing else.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

from distributed import Security

from simulator.identity.cluster_folder import Role, role_files

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["security_of", "temporary_security"]

_TERMS: dict[str, Any] = {
    "tls_ciphers": None,
    "tls_min_version": ssl.TLSVersion.TLSv1_2,
    "tls_max_version": None,
}
"""Said, since what is not said is taken from Dask's configuration, which may come from anywhere."""


def security_of(folder: Path, role: Role) -> Security:
    """Return what a process of this role needs, from its folder of ``simulator cluster certificates``.

    It is that role's alone: nothing else can be started with it. Raises ``FleetError`` for whatever is wrong
    with the folder.
    """
    files = role_files(folder, role)
    own = {f"tls_{role}_cert": str(files.certificate), f"tls_{role}_key": str(files.key)}
    others = {f"tls_{other}_{what}": None for other in Role if other is not role for what in ("cert", "key")}
    return Security(require_encryption=True, tls_ca_file=str(files.trust), **own, **others, **_TERMS)


def temporary_security() -> Security:
    """Return what all processes of a cluster on one machine share: a key made now, which ends with them.

    It is in memory. OpenSSL loads keys from files only, so that each process has it in a file of its own for
    the moment that loading takes, in a folder that nobody else can enter.
    """
    security: Security = Security.temporary(**_TERMS)
    return security
