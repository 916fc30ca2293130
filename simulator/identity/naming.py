"""Names of devices: what may be one, and how numbered ones are formed.

A device's name is its client identifier, its certificate's common name, a level of its topics and a folder of
an export, so it has to be fit for all four.
"""

from __future__ import annotations

from simulator.errors import FleetError

__all__ = ["MAX_LENGTH", "check_name", "numbered"]

MAX_LENGTH = 64
"""Bytes of UTF-8. RFC 5280 appendix A.1 (ub-common-name) counts characters, many a program bytes."""

_FORBIDDEN = frozenset(
    '/\\+#"'
)  # separators of folders and topics, wildcards (MQTT 3.1.1, 4.7.1), JSON's quote


def check_name(device: str) -> str:
    """Return ``device`` where it can name a device; raise ``FleetError`` that says why where it cannot."""
    if not device.isprintable() or device != device.strip():
        raise FleetError(f"device name {device!r} holds a control character, or a space at its end")
    if not 0 < (length := len(device.encode())) <= MAX_LENGTH:
        raise FleetError(f"a device name has 1 to {MAX_LENGTH} bytes in UTF-8, and {device!r} has {length}")
    if wrong := sorted(_FORBIDDEN.intersection(device)):
        raise FleetError(
            f"device name {device!r} holds {' '.join(wrong)}, which topics, folders and JSON cannot take"
        )
    if device.startswith((".", "$")):
        raise FleetError(f"device name {device!r} starts with {device[0]!r}: hidden folders and $ topics do")
    return device


def numbered(prefix: str, first: int, count: int) -> list[str]:
    """Return ``count`` names from number ``first``, in five digits or more: ``core2-00001``."""
    return [f"{prefix}{number:05d}" for number in range(first, first + count)]
