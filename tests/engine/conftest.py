from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.offspring import remember_elders

__all__ = ["remember_elders"]

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let relative paths in overrides, and the folder ``runs``, start from the test's own folder."""
    monkeypatch.chdir(tmp_path)
