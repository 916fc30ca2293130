"""The scenarios that travel with the package: in a folder of it once installed, else in the source tree."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import NamedTuple

__all__ = ["Shipped", "shipped"]

_INSTALLED = Path(__file__).parents[1] / "scenarios"
_SOURCE = Path(__file__).parents[2] / "scenarios"


class Shipped(NamedTuple):
    """One scenario: the name it is run by, one line that says what it shows, and its file."""

    name: str
    title: str
    path: Path


def shipped() -> list[Shipped]:
    """Return the scenarios that ship, by name."""
    folder = _INSTALLED if _INSTALLED.is_dir() else _SOURCE
    return [Shipped(path.stem, _title(path), path) for path in sorted(folder.glob("*.toml"))]


def _title(path: Path) -> str:
    return str(tomllib.loads(path.read_text(encoding="utf-8"))["title"])
