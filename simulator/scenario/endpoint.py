"""An endpoint as people write it: ``host``, ``host:port``, ``[address]`` or ``[address]:port``."""

from __future__ import annotations

import re

from simulator.scenario.kinds import Endpoint
from simulator.scenario.wording import quote

__all__ = ["parse_endpoint"]

_PATTERN = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s:/\[\]]+))(?::([0-9]{1,5}))?")


def parse_endpoint(value: object, example: str, port: int) -> Endpoint:
    """Return the endpoint, at ``port`` unless it says another; raise ValueError that gives ``example``."""
    match = _PATTERN.fullmatch(value) if isinstance(value, str) else None
    if match is None or (match[3] and not 0 < int(match[3]) <= 65_535):
        _, _, number = example.rpartition(":")
        raise ValueError(f'expected an endpoint such as "{example}" or "[::1]:{number}", not {quote(value)}')
    return Endpoint(match[1] or match[2], int(match[3] or port))
