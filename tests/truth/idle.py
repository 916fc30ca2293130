"""What only a machine can prove that has nothing else to do."""

from __future__ import annotations

import os

import pytest

__all__ = ["on_an_idle_machine"]

on_an_idle_machine = pytest.mark.skipif(
    os.environ.get("SIMULATOR_TRUTH") != "1",
    reason="to keep time to the millisecond wants a machine with nothing else to do: make truth",
)
