"""The numbers of a fleet's devices: each is given once, whoever issues at the same time.

Knows the two tables that it needs, and names ``<prefix><number>``; not how to issue.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from simulator.errors import FleetError
from simulator.identity.fleet_file import transaction
from simulator.identity.naming import numbered

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["reserved"]


@contextmanager
def reserved(
    connection: sqlite3.Connection, path: Path | None, prefix: str, count: int
) -> Iterator[list[str]]:
    """Take the next ``count`` names of a prefix for us alone; give back those that came to nothing.

    Another process that issues at the same time gets the numbers after ours. A killed process leaves a gap,
    which nobody fills: to a second process, the first one still means to use those numbers.
    """
    if count < 1:
        raise FleetError(f"a fleet grows by one device at least, not by {count}")
    with transaction(connection, path):
        first = _next(connection, prefix)
        _set_next(connection, prefix, first + count)
    try:
        yield numbered(prefix, first, count)
    finally:
        with transaction(connection, path):
            if _next(connection, prefix) == first + count:
                _set_next(connection, prefix, 1 + _highest(connection, prefix))


def _next(connection: sqlite3.Connection, prefix: str) -> int:
    row = connection.execute("SELECT next FROM numbering WHERE prefix = ?", (prefix,)).fetchone()
    return max(row[0] if row else 1, 1 + _highest(connection, prefix))


def _set_next(connection: sqlite3.Connection, prefix: str, number: int) -> None:
    connection.execute("INSERT OR REPLACE INTO numbering VALUES (?, ?)", (prefix, number))


def _highest(connection: sqlite3.Connection, prefix: str) -> int:
    """Return the highest number among the devices of a prefix, whoever named them; 0 if there is none."""
    (highest,) = connection.execute(
        "SELECT max(CAST(substr(device, :start) AS INTEGER)) FROM credential"
        " WHERE substr(device, 1, :start - 1) = :prefix AND substr(device, :start) GLOB '[0-9]*'"
        " AND substr(device, :start) NOT GLOB '*[^0-9]*'",
        {"start": len(prefix) + 1, "prefix": prefix},
    ).fetchone()
    return int(highest or 0)
