"""The processes that a test has started, apart from those that were there before it and outlive it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

_elders: set[psutil.Process] = set()


@pytest.fixture(autouse=True)
def remember_elders() -> Iterator[None]:
    """Remember who was there when the test began; to be imported by a conftest."""
    _elders.update(psutil.Process().children(recursive=True))
    yield
    _elders.clear()


def children() -> list[psutil.Process]:
    """Return the processes below this one that were started by the test."""
    return [each for each in psutil.Process().children(recursive=True) if each not in _elders]
