from __future__ import annotations

from pathlib import Path

import pytest

from simulator.errors import FleetError
from simulator.identity import keys
from simulator.identity.pem_file import PemFile
from simulator.identity.pem_folder import device_stem, groups, pem_paths
from simulator.scenario.kinds import KeyKind

KEY = keys.generate(KeyKind.EC_P256)


def grouped(*names: str) -> dict[str, set[str]]:
    folder = Path("fleet")
    files = [PemFile(folder / name, (), (KEY,) if "key" in name else ()) for name in names]
    return {
        group.name: {str(one.path.relative_to(folder)) for one in group.files}
        for group in groups(folder, files)
    }


@pytest.mark.parametrize(
    ("name", "device"),
    [
        ("core2-00001.crt", "core2-00001"),
        ("core2-00001.cert", "core2-00001"),
        ("core2-00001.pem", "core2-00001"),
        ("core2-00001.key", "core2-00001"),
        ("core2-00001-key.pem", "core2-00001"),
        ("core2-00001_key.pem", "core2-00001"),
        ("core2-00001.key.pem", "core2-00001"),
        ("core2-00001-chain.pem", "core2-00001"),
        ("core2-00001.fullchain.pem", "core2-00001"),
        ("9b1f-certificate.pem.crt", "9b1f"),
        ("9b1f-private.pem.key", "9b1f"),
        ("9b1f-public.pem.key", "9b1f"),
        ("thermostat.cert.pem", "thermostat"),
        ("thermostat.private.key", "thermostat"),
        ("thermostat.public.key", "thermostat"),
        ("device-private-key.pem", "device"),
        ("door.key.lock.crt", "door.key.lock"),
        ("monkey.crt", "monkey"),
        ("keychain.pem", "keychain"),
        ("key.pem", ""),
        ("certificate.pem", ""),
        ("CLIENT.CRT", "CLIENT"),
    ],
)
def test_the_part_of_a_file_name_that_is_the_device(name: str, device: str) -> None:
    assert device_stem(name) == device


def test_a_folder_for_each_device_whatever_its_files_are_called() -> None:
    assert grouped("a/certificate.pem", "a/key.pem", "b/x.crt", "b/y.key", "b/ca.pem", "ca.pem") == {
        "a": {"a/certificate.pem", "a/key.pem"},
        "b": {"b/x.crt", "b/y.key", "b/ca.pem"},
        "ca": {"ca.pem"},
    }


def test_files_side_by_side() -> None:
    assert grouped("a.crt", "a.key", "b-certificate.pem.crt", "b-key.pem.key", "root-ca.pem") == {
        "a": {"a.crt", "a.key"},
        "b": {"b-certificate.pem.crt", "b-key.pem.key"},
        "root-ca": {"root-ca.pem"},
    }


def test_files_side_by_side_in_a_folder_below() -> None:
    assert grouped("batch/a.crt", "batch/a.key", "batch/b.crt", "batch/b.key") == {
        "a": {"batch/a.crt", "batch/a.key"},
        "b": {"batch/b.crt", "batch/b.key"},
    }


def test_files_without_a_device_are_named_by_the_folder() -> None:
    assert grouped("certificate.pem", "key.pem") == {"fleet": {"certificate.pem", "key.pem"}}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ca", True),
        ("CA", True),
        ("root", True),
        ("acme-root-ca", True),
        ("my_ca", True),
        ("rootCA", True),
        ("ca-2", True),
        ("intermediate", True),
        ("america", False),
        ("core2-00001", False),
        ("carrot", False),
    ],
)
def test_names_of_authorities(name: str, expected: bool) -> None:
    (group,) = groups(Path("fleet"), [PemFile(Path("fleet") / f"{name}.pem", (), ())])
    assert group.is_named_as_authority is expected


def test_only_files_that_could_be_pem_are_read_and_two_levels_deep(tmp_path: Path) -> None:
    for name in ("a.crt", "b/key.PEM", "b/c/too-deep.pem", "README.txt", "d.pem/inside.key"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert [str(path.relative_to(tmp_path)) for path in pem_paths(tmp_path)] == [
        "a.crt",
        "b/key.PEM",
        "d.pem/inside.key",
    ]


def test_a_folder_that_is_not_there_or_holds_nothing(tmp_path: Path) -> None:
    with pytest.raises(FleetError, match="there is no folder"):
        pem_paths(tmp_path / "nowhere")
    with pytest.raises(FleetError, match=r"holds no files that end in \.cer, \.cert, \.crt, \.key, \.pem"):
        pem_paths(tmp_path)
