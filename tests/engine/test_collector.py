from __future__ import annotations

import gc

from simulator.engine.collector import quiet_collector


def test_the_collector_is_quiet_for_the_run_alone() -> None:
    before = gc.get_threshold()
    with quiet_collector():
        assert gc.get_threshold() != before
        assert gc.get_freeze_count() > 0
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0


def test_no_collection_looks_through_more_than_what_is_young() -> None:
    """Twenty thousand devices' worth of objects come while it is quiet, and cost no pause that would show."""
    looked_through: list[int] = []

    def look(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            young = range(info["generation"] + 1)
            looked_through.append(sum(len(gc.get_objects(each)) for each in young))

    with quiet_collector():
        gc.callbacks.append(look)
        kept: list[list[object]] = [[[]] for _ in range(200_000)]
        gc.callbacks.remove(look)
    assert len(kept) == 200_000
    assert max(looked_through) < 20_000
