from __future__ import annotations

import pytest

from simulator.report.delivery_log import from_json, to_json
from tests.report.example import DELIVERIES


@pytest.mark.parametrize("delivery", DELIVERIES, ids=lambda each: each.device)
def test_a_line_reads_as_it_was_written(delivery: object) -> None:
    (known,) = [each for each in DELIVERIES if each is delivery]
    line = to_json(known)
    assert "\n" not in line
    assert from_json(line) == known


@pytest.mark.parametrize("line", ["", "{}", "[]", "7", to_json(DELIVERIES[0])[:-9], '{"phase":"nothing"}'])
def test_any_other_line_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        from_json(line)
