from __future__ import annotations

import ssl
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import dask
import pytest
from distributed import Security

from simulator.engine.security import security_of, temporary_security
from simulator.errors import FleetError
from simulator.identity.cluster_folder import Role, export_cluster

if TYPE_CHECKING:
    from collections.abc import Callable

HOSTILE = {
    "distributed.comm.require-encryption": False,
    "distributed.comm.tls.ciphers": "NULL",
    "distributed.comm.tls.min-version": None,
    "distributed.comm.tls.max-version": 1.2,
    "distributed.comm.tls.ca-file": "/elsewhere/ca.pem",
    **{
        f"distributed.comm.tls.{role}.{what}": f"/elsewhere/{what}.pem"
        for role in Role
        for what in ("cert", "key")
    },
}
"""What a forgotten file in ~/.config/dask may hold."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("security") / "cluster"
    export_cluster(folder)
    return folder


def fields(security: Security) -> dict[str, object]:
    return {name: getattr(security, name) for name in Security.__slots__}


@pytest.mark.parametrize("role", Role)
def test_nothing_comes_from_dasks_configuration(role: Role, folder: Path) -> None:
    before = fields(security_of(folder / role, role))
    with dask.config.set(HOSTILE):
        assert fields(security_of(folder / role, role)) == before
        assert "/elsewhere" not in repr(fields(temporary_security()))
    assert before["require_encryption"] is True
    assert before["tls_min_version"] is ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("role", Role)
def test_it_is_good_for_one_role_alone(role: Role, folder: Path) -> None:
    security = security_of(folder / role, role)
    for other in Role:
        context = security.get_connection_args(other.value)["ssl_context"]
        assert (context is not None) == (other is role)


@pytest.mark.parametrize(
    "make", [lambda folder: security_of(folder / "worker", Role.WORKER), lambda _: temporary_security()]
)
def test_both_sides_show_a_certificate(make: Callable[[Path], Security], folder: Path) -> None:
    security = make(folder)
    for arguments in (security.get_listen_args("worker"), security.get_connection_args("worker")):
        assert arguments["require_encryption"] is True
        assert arguments["ssl_context"].verify_mode is ssl.CERT_REQUIRED
        assert arguments["ssl_context"].minimum_version is ssl.TLSVersion.TLSv1_2


def test_a_folder_that_cannot_be_used_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(FleetError, match=r"holds no ca\.pem"):
        security_of(tmp_path, Role.CLIENT)


def test_no_key_is_shown(folder: Path) -> None:
    for security in (temporary_security(), security_of(folder / "client", Role.CLIENT)):
        assert "PRIVATE KEY" not in repr(security)


def test_a_temporary_key_is_on_disk_for_a_moment_and_for_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    load = ssl.SSLContext.load_cert_chain

    def watched(context: ssl.SSLContext, certificate: str, key: str) -> None:
        seen.append(Path(key).parent.stat().st_mode & 0o777)
        load(context, certificate, key)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", watched)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    temporary_security().get_listen_args("scheduler")
    assert seen == [0o700]
    assert list(tmp_path.iterdir()) == []
