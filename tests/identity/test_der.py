from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.identity import der


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (0, "02 01 00"),
        (1, "02 01 01"),
        (127, "02 01 7f"),
        (128, "02 02 00 80"),
        (255, "02 02 00 ff"),
        (256, "02 02 01 00"),
        (2**15 - 1, "02 02 7f ff"),
        (2**15, "02 03 00 80 00"),
        (2**159 - 1, "02 14 7f" + 19 * "ff"),
    ],
)
def test_an_integer_has_no_octet_that_it_does_not_need_and_is_never_negative(
    value: int, encoded: str
) -> None:
    assert der.integer(value) == bytes.fromhex(encoded)


@pytest.mark.parametrize(
    ("size", "head"),
    [
        (0, "30 00"),
        (127, "30 7f"),
        (128, "30 81 80"),
        (255, "30 81 ff"),
        (256, "30 82 01 00"),
        (65_535, "30 82 ff ff"),
        (65_536, "30 83 01 00 00"),
    ],
)
def test_a_length_is_as_short_as_it_can_be(size: int, head: str) -> None:
    assert der.sequence(bytes(size)) == bytes.fromhex(head) + bytes(size)


def test_strings_and_sets() -> None:
    assert der.bit_string(b"\x0a\x3b") == bytes.fromhex("03 03 00 0a 3b")
    assert der.utf8_string("ü1") == bytes.fromhex("0c 03 c3 bc 31")
    assert der.set_of(der.integer(5)) == bytes.fromhex("31 03 02 01 05")


@given(st.lists(st.binary(max_size=300)))
def test_what_is_put_into_a_sequence_comes_out_again(contents: list[bytes]) -> None:
    inside = [der.bit_string(content) for content in contents]
    assert der.elements(der.sequence(*inside)) == inside
    assert [der.octets(element) for element in inside] == contents
