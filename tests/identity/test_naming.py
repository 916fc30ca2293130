from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.errors import FleetError
from simulator.identity.naming import check_name, numbered


@pytest.mark.parametrize(
    "name",
    ["core2-00001", "0123A4F2B1C3D4E5F6", "AWS IoT Certificate", "Gerät-7", "a.b:c@d", "x" * 64, "ü" * 32],
)
def test_names_that_people_use(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "1 to 64 bytes"),
        ("x" * 65, "has 65"),
        ("ü" * 33, "has 66"),
        ("no text \udcff", "control character"),
        ("a/b", "topics, folders"),
        ("a\\b", "topics, folders"),
        ("fleet+", "topics, folders"),
        ("#", "topics, folders"),
        ("..", "starts with"),
        (".hidden", "starts with"),
        ("$SYS", "starts with"),
        ("nul\0", "control character"),
        ("line\n", "control character"),
        (" padded", "space at its end"),
    ],
)
def test_names_that_cannot_be_a_topic_level_or_a_folder(name: str, why: str) -> None:
    with pytest.raises(FleetError, match=why):
        check_name(name)


@given(st.text(max_size=70))
def test_what_is_accepted_is_one_level_of_a_topic_and_one_folder(name: str) -> None:
    try:
        check_name(name)
    except FleetError:
        return
    assert 1 <= len(name.encode()) <= 64
    assert not set(name) & set("/+#\0\\")
    assert name not in {".", ".."}


def test_numbers_have_five_digits_or_more_and_sort() -> None:
    names = numbered("core2-", 9998, 4)
    assert names == ["core2-09998", "core2-09999", "core2-10000", "core2-10001"]
    assert sorted(names) == names
    assert numbered("d", 123456, 1) == ["d123456"]
