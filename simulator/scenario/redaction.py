"""What of a scenario is not for the run folder: passwords. Text in, text out."""

from __future__ import annotations

import tomlkit

__all__ = ["without_passwords"]

KEPT_BACK = "(not saved)"


def without_passwords(text: str) -> str:
    """Return a valid scenario's text with every fleet's password kept back, and all else as it was."""
    document = tomlkit.parse(text)
    fleets = document.get("fleet", {})
    guarded = [fleet for fleet in fleets.values() if "password" in fleet]
    for fleet in guarded:
        fleet["password"] = KEPT_BACK
    return tomlkit.dumps(document) if guarded else text
