from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.devices.command import answer, answered, command, commanded


@given(st.integers(1, 10**12))
def test_a_device_reads_what_the_cloud_writes(number: int) -> None:
    assert commanded(command(number)) == number


@given(st.text(min_size=1, max_size=64).filter(lambda name: '"' not in name), st.integers(1, 10**12))
def test_the_cloud_reads_what_a_device_answers(device: str, number: int) -> None:
    assert answered(answer(device, number)) == (device, number)


ENDLESS = b"1" * 5_000
"""More digits than Python turns into a number."""
STRANGE = [
    b"",
    b"{}",
    b'{"command":-1}',
    b'{"command":1} ',
    b'{"command":%b}' % ENDLESS,
    b'{"answer":1}',
    b'{"device":"\xff","answer":1}',
    b'{"device":"a","answer":%b}' % ENDLESS,
]


@pytest.mark.parametrize("strange", STRANGE, ids=lambda strange: strange[:24])
def test_anything_else_is_neither(strange: bytes) -> None:
    assert commanded(strange) is None
    assert answered(strange) is None
