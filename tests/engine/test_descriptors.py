"""The limit of open files: raised as far as it goes, and told beforehand where that is not enough."""

from __future__ import annotations

import resource
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from simulator.engine.descriptors import SPARE, check_broker_descriptors, raise_descriptor_limit
from simulator.errors import UsageError
from tests.engine.scenarios import small

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def most() -> int:
    """Return how many files a process of this machine may open at most."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        pytest.skip("this machine sets no hard limit of open files")
    return hard


@contextmanager
def soft_limit(soft: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_soft_limit_is_raised_to_the_hard_one() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with soft_limit(256):
        raise_descriptor_limit(100)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)


def test_as_many_devices_as_there_are_files_left_over_are_right(most: int) -> None:
    with soft_limit(256):
        raise_descriptor_limit(most - SPARE)


def test_one_more_is_told_with_the_sum_and_every_remedy(most: int) -> None:
    devices, wanted = most - SPARE + 1, most + 1
    with soft_limit(256), pytest.raises(UsageError) as caught:
        raise_descriptor_limit(devices)
    sentence = str(caught.value)
    assert sentence.startswith(
        f"{devices:,} devices take {wanted:,} open files in the process that drives them"
    )
    assert f"a process here may have {most:,}: " in sentence
    for remedy in ("--processes", f"ulimit -n {wanted}", f"LimitNOFILE={wanted}", f"nofile={wanted}"):
        assert remedy in sentence


@pytest.mark.parametrize(
    ("broker", "remedy"),
    [
        ("embedded", "start more brokers of kind mosquitto"),
        ("mosquitto", r"start more mosquittos \(count in"),
    ],
)
def test_a_broker_of_the_run_needs_as_many(tmp_path: Path, most: int, broker: str, remedy: str) -> None:
    fits = small(tmp_path, f"fleet.core2.devices={most - SPARE}", broker=broker)
    check_broker_descriptors(fits.scenario)
    loaded = small(tmp_path, f"fleet.core2.devices={most}", broker=broker)
    with pytest.raises(UsageError, match=f"{most + SPARE:,} open files in the {broker} broker, .*: {remedy}"):
        check_broker_descriptors(loaded.scenario)


def test_several_brokers_divide_the_need(tmp_path: Path, most: int) -> None:
    devices = f"fleet.core2.devices={2 * (most - SPARE)}"
    check_broker_descriptors(small(tmp_path, devices, "broker.count=2", broker="mosquitto").scenario)
    with pytest.raises(UsageError, match="open files in the mosquitto broker"):
        check_broker_descriptors(small(tmp_path, devices, broker="mosquitto").scenario)


def test_what_somebody_else_s_broker_may_open_is_not_known(tmp_path: Path, most: int) -> None:
    devices = f"fleet.core2.devices={10 * most}"
    check_broker_descriptors(small(tmp_path, devices, broker="127.0.0.1:8883").scenario)
