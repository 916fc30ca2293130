from __future__ import annotations

import pytest

from simulator.scenario.endpoint import parse_endpoint
from simulator.scenario.kinds import Endpoint


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("broker.example", Endpoint("broker.example", 8786)),
        ("broker.example:1", Endpoint("broker.example", 1)),
        ("127.0.0.1:65535", Endpoint("127.0.0.1", 65_535)),
        ("[::1]", Endpoint("::1", 8786)),
        ("[fe80::1]:99", Endpoint("fe80::1", 99)),
    ],
)
def test_reads_host_and_port(text: str, endpoint: Endpoint) -> None:
    assert parse_endpoint(text, "host:8786", 8786) == endpoint


@pytest.mark.parametrize(
    "value", ["", "host:", "host:0", "host:65536", "::1", "host:x", "tls://host", "a b", 8786, None]
)
def test_says_what_an_endpoint_looks_like(value: object) -> None:
    with pytest.raises(ValueError, match=r'expected an endpoint such as "host:8786" or "\[::1\]:8786", not '):
        parse_endpoint(value, "host:8786", 8786)
