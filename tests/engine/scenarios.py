"""Small scenarios, written for one test each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.scenario.loader import load
from tests.support.command import SMALL

if TYPE_CHECKING:
    from pathlib import Path

    from simulator.scenario.loader import LoadedScenario


def small(folder: Path, *overrides: str, broker: str = "embedded", text: str = SMALL) -> LoadedScenario:
    """Return a scenario of ten devices that lasts a second, with ``overrides``."""
    path = folder / "small.toml"
    path.write_text(text)
    return load(path, overrides=overrides, broker=broker)
