from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

import pytest
import tomlkit
from hypothesis import given
from hypothesis import strategies as st

from simulator.scenario.positions import KeyPath, Positions, split_key, written

if TYPE_CHECKING:
    from collections.abc import Iterator

TEXT = '''\
# a comment with = and [brackets]
title = "a [table] # not a comment" # 2
dotted . "quoted.key" = 1
lines = """
[not.a.table]
no = "key" \\"""
still = "inside" """
literal = \'\'\'
x = [
it\'s\'\'\'

[fleet.core2] # 12
devices = 0x10
list = [ # 14
  "one, ]", # 15
  { inline = 1, deep.key = [2, # 16
    3] },
]
when = 1979-05-27 07:32:00

  [ fleet . core2 . "tele metry" ] # 21
every = \'1s\'

[[stage]]
name = "a"
connect = { fleet = "core2", rate = "1/s" } # 26
[stage.more]
x = 1
[[stage]]
name = "b"
[[stage.inner]]
y = 1
[[stage.inner]] # 33
y = 2
empty = ""
single = \'\'
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("title",), 2),
        (("dotted",), 3),
        (("dotted", "quoted.key"), 3),
        (("lines",), 4),
        (("literal",), 8),
        (("fleet",), 12),
        (("fleet", "core2"), 12),
        (("fleet", "core2", "devices"), 13),
        (("fleet", "core2", "list"), 14),
        (("fleet", "core2", "list", 0), 15),
        (("fleet", "core2", "list", 1), 16),
        (("fleet", "core2", "list", 1, "inline"), 16),
        (("fleet", "core2", "list", 1, "deep", "key"), 16),
        (("fleet", "core2", "list", 1, "deep", "key", 1), 17),
        (("fleet", "core2", "when"), 19),
        (("fleet", "core2", "tele metry"), 21),
        (("fleet", "core2", "tele metry", "every"), 22),
        (("stage",), 24),
        (("stage", 0), 24),
        (("stage", 0, "name"), 25),
        (("stage", 0, "connect", "rate"), 26),
        (("stage", 0, "more"), 27),
        (("stage", 0, "more", "x"), 28),
        (("stage", 1), 29),
        (("stage", 1, "name"), 30),
        (("stage", 1, "inner", 0, "y"), 32),
        (("stage", 1, "inner", 1), 33),
        (("stage", 1, "inner", 1, "y"), 34),
        (("stage", 1, "inner", 1, "single"), 36),
    ],
)
def test_finds_the_line_of_each_key(path: KeyPath, line: int) -> None:
    tomllib.loads(TEXT)
    assert Positions(TEXT).line(path) == line


@pytest.mark.parametrize(
    ("path", "line"),
    [(("fleet", "core2", "missing"), 12), (("stage", 1, "x", "y"), 29), (("nothing",), 1), ((), 1)],
)
def test_a_key_that_is_not_there_is_where_its_table_is(path: KeyPath, line: int) -> None:
    assert Positions(TEXT).line(path) == line


def test_lines_that_end_as_on_windows_count_once() -> None:
    assert Positions('a = 1\r\nb = """\r\nx"""\r\nc = 2\r\n').line(("c",)) == 4


def test_refuses_what_is_not_toml() -> None:
    with pytest.raises(ValueError, match="not TOML at character 4"):
        Positions("a = ]")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ((), ""),
        (("fleet", "core2", "devices"), "fleet.core2.devices"),
        (("stage", 0, "connect", "rate"), "stage[0].connect.rate"),
        (("thresholds", "publish.p99"), 'thresholds."publish.p99"'),
    ],
)
def test_writes_key_paths(path: KeyPath, text: str) -> None:
    assert written(path) == text


def test_splits_dotted_keys() -> None:
    assert split_key('a . "b.c".\'d"\'."\\u0065"') == ("a", "b.c", 'd"', "e")


KEYS = st.text(alphabet="ab.\"'= #[]{}é\n", max_size=4)
SCALARS = st.one_of(
    st.integers(-9, 9),
    st.booleans(),
    st.floats(allow_nan=False),
    st.text(alphabet="a\"'\\\n#[]{},= \r", max_size=8),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)


def paths(value: Any, path: KeyPath = ()) -> Iterator[KeyPath]:
    if path:
        yield path
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield from paths(inner, (*path, key))


@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_knows_every_path_of_any_document(document: dict[str, Any]) -> None:
    text = tomlkit.dumps(document)
    lines = Positions(text)._lines
    assert set(paths(tomllib.loads(text))) == set(lines)
    assert all(1 <= line <= text.count("\n") + 1 for line in lines.values())
