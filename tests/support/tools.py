"""Programs that some tests need, and what to do where one is missing."""

from __future__ import annotations

import os
import shutil

import pytest


def require(program: str) -> str:
    """Return the path of ``program``; skip the test where it is missing, fail where CI runs."""
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin:/sbin")
    if path is not None:
        return path
    if os.environ.get("CI") == "true":
        pytest.fail(f"{program} is not installed, and CI must run every test")
    pytest.skip(f"{program} is not installed")
