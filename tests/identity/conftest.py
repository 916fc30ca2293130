"""Authorities, made once: a root and an issuing certificate for each kind of key."""

from __future__ import annotations

from functools import cache

import pytest

from simulator.identity.authority import Authority
from simulator.scenario.kinds import KeyKind


@cache
def authority_of(kind: KeyKind) -> Authority:
    return Authority.create("Acme", key=kind)


@pytest.fixture
def authority() -> Authority:
    return authority_of(KeyKind.EC_P256)
