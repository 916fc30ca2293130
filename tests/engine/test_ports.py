"""Local ports and source addresses, held against what this machine has before a run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from simulator.engine.ports import check_local_ports, check_ports, local_ports
from simulator.errors import UsageError
from tests.engine.scenarios import small

if TYPE_CHECKING:
    from pathlib import Path

    from simulator.scenario.model import Scenario


def crowd(folder: Path, devices: int, *source: str, count: int = 1, host: str = "127.0.0.1") -> Scenario:
    changes = [f"fleet.core2.devices={devices}", f"broker.count={count}", f"broker.host={host}"]
    return small(folder, *changes, f"link.source={json.dumps(source)}", broker="mosquitto").scenario


def test_one_address_has_as_many_ports_as_the_kernel_gives_out(tmp_path: Path) -> None:
    most = local_ports()
    assert 1_000 < most < 65_536
    assert check_local_ports(crowd(tmp_path, most // 2)) == ()
    with pytest.raises(UsageError, match=f"this machine has {most:,} for a pair") as caught:
        check_local_ports(crowd(tmp_path, most + 1))
    assert str(caught.value).startswith(f"{most + 1:,} devices take {most + 1:,} local ports for each pair")
    assert 'name 3 source addresses in [link], such as source = ["127.0.0.2-127.0.0.4"]' in str(caught.value)


def test_the_second_half_of_them_is_slow(tmp_path: Path) -> None:
    most = local_ports()
    for devices in (most // 2 + 1, most):
        (sentence,) = check_local_ports(crowd(tmp_path, devices))
        assert f"past {most // 2:,} each connect takes the kernel milliseconds: name 2 source" in sentence


def test_endpoints_and_source_addresses_multiply_them(tmp_path: Path) -> None:
    half = local_ports() // 2
    assert check_local_ports(crowd(tmp_path, 2 * half, count=2)) == ()
    assert check_local_ports(crowd(tmp_path, 6 * half, "127.0.0.2-127.0.0.4", count=2)) == ()
    (sentence,) = check_local_ports(crowd(tmp_path, 6 * half + 1, "127.0.0.2-127.0.0.4", count=2))
    assert "(there are 3 and 2)" in sentence
    assert "name 4 source addresses" in sentence


@pytest.mark.parametrize("devices", [20_000, 60_000, 123_456, 1_000_000])
def test_as_many_addresses_as_it_asks_for_are_enough(devices: int) -> None:
    enough = -(-devices // (local_ports() // 2))
    assert check_ports(devices, 1, enough) == ()
    assert f"name {enough} source addresses" in sentence_of(devices, enough - 1)


def sentence_of(devices: int, sources: int) -> str:
    """Return what is said of too few source addresses, be it a warning or an error."""
    try:
        return check_ports(devices, 1, sources)[0]
    except UsageError as error:
        return str(error)


def test_an_address_of_another_machine_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"192\.0\.2\.7 is not an address of this machine"):
        check_local_ports(crowd(tmp_path, 10, "127.0.0.2", "192.0.2.7"))


def test_only_addresses_of_the_broker_s_family_count(tmp_path: Path) -> None:
    check_local_ports(crowd(tmp_path, 10, "::1", "127.0.0.2"))
    with pytest.raises(UsageError, match=r"the broker at 127\.0\.0\.1: IPv4 and IPv6 do not mix"):
        check_local_ports(crowd(tmp_path, 10, "::1"))
    most = local_ports()
    with pytest.raises(UsageError, match=r"there are 1 and 1"):
        check_local_ports(crowd(tmp_path, most + 1, "::1", "127.0.0.2"))
