"""Which addresses of a pool this machine has."""

from __future__ import annotations

import socket

import psutil
import pytest

from simulator.errors import UsageError
from simulator.link.source import SourceAddress, check_sources, sources_here
from simulator.scenario.link import Link

NOT_HERE = "192.0.2.7"
"""Of a block for documents (RFC 5737), which no machine has."""


def loopback() -> str:
    """Return the name of the interface that has 127.0.0.1."""
    found = psutil.net_if_addrs().items()
    return next(name for name, each in found if "127.0.0.1" in {one.address for one in each})


def here(*pool: str) -> dict[socket.AddressFamily, list[str]]:
    found = sources_here(Link.model_validate({"source": pool}).source)
    return {family: [source.address for source in sources] for family, sources in found.items()}


def test_all_of_the_loopback_network_is_here_and_each_address_counts_once() -> None:
    assert here("127.0.0.2-127.0.0.4", "127.0.0.4-127.0.0.5") == {
        socket.AF_INET: ["127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5"]
    }


def test_families_are_kept_apart() -> None:
    assert here("::1", "127.0.0.2") == {socket.AF_INET6: ["::1"], socket.AF_INET: ["127.0.0.2"]}


def test_an_interface_stands_for_its_addresses() -> None:
    assert "127.0.0.1" in here(loopback())[socket.AF_INET]


def test_of_a_pool_for_several_machines_those_are_taken_that_are_here() -> None:
    assert here(NOT_HERE, "127.0.0.2", "nowhere0") == {socket.AF_INET: ["127.0.0.2"]}


def test_without_a_pool_there_is_none() -> None:
    assert here() == {}


def test_a_machine_that_has_nothing_of_a_pool_says_so() -> None:
    with pytest.raises(UsageError, match=rf"has none of the addresses of {NOT_HERE}, nowhere0$"):
        here(NOT_HERE, "nowhere0")


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (NOT_HERE, r"^link.source: 192.0.2.7 is not an address of this machine: name .* dev lo\)$"),
        ("192.0.2.8/30", r"^link.source: 192.0.2.9 .* this machine, nor is 1 more of 192.0.2.8/30: "),
        ("192.0.2.8/29", r"^link.source: 192.0.2.9 .* this machine, nor are 5 more of 192.0.2.8/29: "),
        ("nowhere0", r"has no interface nowhere0 with an address to start from.* It has: .*lo"),
    ],
)
def test_on_one_machine_every_address_must_be_its_own(source: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        check_sources(Link.model_validate({"source": ["127.0.0.2", source]}).source)


def test_a_pool_of_this_machine_is_right() -> None:
    check_sources(Link.model_validate({"source": ["127.0.0.2-127.0.0.9", loopback()]}).source)


def test_an_address_is_what_a_socket_binds_to() -> None:
    with socket.socket(socket.AF_INET6) as sock:
        sock.bind(SourceAddress("::1"))
        assert sock.getsockname()[0] == "::1"
