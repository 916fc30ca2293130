"""A scenario, and what a probe of it might have read, for the tests of what is made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.scenario.loader import load
from tests.support.command import SMALL

if TYPE_CHECKING:
    from pathlib import Path

    from simulator.scenario.loader import LoadedScenario


def loaded(folder: Path, *overrides: str, broker: str | None = None, text: str = SMALL) -> LoadedScenario:
    """Return the small scenario, changed."""
    path = folder / "small.toml"
    path.write_text(text)
    return load(path, overrides=overrides, broker=broker)
