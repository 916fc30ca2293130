"""What some tests need of the machine, and what to do where it is missing."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest


def require(program: str) -> str:
    """Return the path of ``program``; skip the test where it is missing, fail where CI runs."""
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin:/sbin")
    if path is None:
        lacking(f"{program} is not installed")
    return path


def lacking(what: str) -> NoReturn:
    """Skip the test because of what this machine lacks; fail where CI runs."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what}, and CI must run every test")
    pytest.skip(what)
