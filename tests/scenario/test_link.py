"""Source addresses as people write them."""

from __future__ import annotations

import pickle

import pytest
from pydantic import ValidationError

from simulator.scenario.link import AddressRange, Interface, Link


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("127.0.0.2", ["127.0.0.2"]),
        ("127.0.0.254-127.0.1.1", ["127.0.0.254", "127.0.0.255", "127.0.1.0", "127.0.1.1"]),
        ("10.0.0.8/29", [f"10.0.0.{last}" for last in range(9, 15)]),
        ("10.0.0.8/31", ["10.0.0.8", "10.0.0.9"]),
        ("10.0.0.8/32", ["10.0.0.8"]),
        ("::1", ["::1"]),
        ("fd00::a-fd00::c", ["fd00::a", "fd00::b", "fd00::c"]),
        ("fd00::/126", ["fd00::1", "fd00::2", "fd00::3"]),
    ],
)
def test_addresses_ranges_and_blocks(text: str, addresses: list[str]) -> None:
    (source,) = Link.model_validate({"source": [text]}).source
    assert isinstance(source, AddressRange)
    assert list(source) == addresses
    assert len(source) == len(addresses)


@pytest.mark.parametrize("name", ["eth0", "eth0.100", "br-4a2f", "wlp0s20f3", "be-ef", "cafe"])
def test_whatever_is_no_address_is_an_interface(name: str) -> None:
    assert Link.model_validate({"source": [name]}).source == (Interface(name),)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("127.0.0.300", r"not \"127.0.0.300\": '127.0.0.300' does not appear to be an IPv4 or IPv6 address"),
        ("127.0.0.9-127.0.0.2", "upwards"),
        ("127.0.0.1-::1", "upwards"),
        ("127.0.0.1-", "not appear"),
        ("10.0.0.1/24", "host bits set"),
        ("10.0.0.0/8", "more than 65,536 addresses"),
        ("fd00::/64", "more than 65,536 addresses"),
        ("0.0.0.0", "no connection can start from there"),
        ("224.0.0.1-224.0.0.9", "no connection can start from there"),
        ("eth0/24", "not appear"),
        ("fe80::1%eth0", 'or an interface, not "fe80::1%eth0"'),
        ("a name with blanks", "or an interface, not"),
        ("longer-than-linux-allows", "or an interface, not"),
        ("", 'or an interface, not ""'),
        (5, "or an interface, not 5"),
    ],
)
def test_a_mistake_is_told_with_what_was_expected(text: object, why: str) -> None:
    with pytest.raises(ValidationError, match=f"expected an address, a range such as .*{why}") as caught:
        Link.model_validate({"source": ["::1", text]})
    (error,) = caught.value.errors()
    assert error["loc"] == ("source", 1)


def test_it_is_written_as_it_was_read_and_travels() -> None:
    link = Link.model_validate({"source": ["127.0.0.2-127.0.0.9", "eth0"]})
    assert link.model_dump(mode="json") == {"source": ["127.0.0.2-127.0.0.9", "eth0"]}
    assert pickle.loads(pickle.dumps(link)) == link
