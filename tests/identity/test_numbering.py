from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from simulator.errors import FleetError
from simulator.identity import fleet_file
from simulator.identity.numbering import reserved

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(fleet_file.in_memory()) as opened:
        yield opened


def test_whoever_comes_while_numbers_are_taken_gets_the_next(connection: sqlite3.Connection) -> None:
    with reserved(connection, None, "a-", 2) as first, reserved(connection, None, "a-", 1) as second:
        assert first == ["a-00001", "a-00002"]
        assert second == ["a-00003"]


def test_numbers_that_came_to_nothing_are_given_back(connection: sqlite3.Connection) -> None:
    with reserved(connection, None, "a-", 100):
        pass
    with reserved(connection, None, "a-", 1) as names:
        assert names == ["a-00001"]


def test_numbers_below_those_of_another_are_not_given_back(connection: sqlite3.Connection) -> None:
    first = reserved(connection, None, "a-", 2)
    second = reserved(connection, None, "a-", 2)
    first.__enter__()
    with second:
        first.__exit__(None, None, None)
        with reserved(connection, None, "a-", 1) as third:
            assert third == ["a-00005"]


def test_a_prefix_is_no_pattern(connection: sqlite3.Connection) -> None:
    with reserved(connection, None, "[a-z]*%_'", 1) as names:
        assert names == ["[a-z]*%_'00001"]


def test_no_number_at_all(connection: sqlite3.Connection) -> None:
    with pytest.raises(FleetError, match="not by 0"), reserved(connection, None, "a-", 0):
        pytest.fail("reserved nothing")
