"""Text with named gaps: ``fleet/{device}/telemetry``.

Only the placeholders that a setting allows are filled in; every other brace is text, so that a JSON payload
can be written as it is. This module knows text only: nothing of topics, devices or files.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from simulator.scenario.wording import did_you_mean, quote

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = ["check_placeholders", "fill", "placeholders"]

_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


def placeholders(template: str) -> frozenset[str]:
    """Return the names that stand in braces in ``template``."""
    return frozenset(_PLACEHOLDER.findall(template))


def fill(template: str, values: Mapping[str, object]) -> str:
    """Return ``template`` with each placeholder that ``values`` names filled in, all others kept."""
    return _PLACEHOLDER.sub(lambda match: str(values.get(match[1], match[0])), template)


def check_placeholders(template: str, allowed: Collection[str], needed: Collection[str] = ()) -> None:
    """Raise ``ValueError`` where ``template`` holds a name that is not allowed or lacks a needed one."""
    found = placeholders(template)
    for name in sorted(found - set(allowed)):
        names = " or ".join(f"{{{name}}}" for name in allowed)
        raise ValueError(f"expected {names} in braces, not {{{name}}}{did_you_mean(name, allowed)}")
    lacking = [f"{{{name}}}" for name in needed if name not in found]
    if lacking:
        raise ValueError(f"expected text with {' and '.join(lacking)} in it, not {quote(template)}")
