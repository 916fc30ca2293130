"""A broker's and a device's papers, made once, and the proof that a link leaves nothing behind."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
import uvloop

from simulator.identity.authority import Authority
from tests.support.descriptors import open_descriptors
from tests.support.listener import Listener

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from simulator.identity.credential import Credential


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run each test on asyncio's loop and on uvloop, which is what a run uses."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def devices() -> Authority:
    return Authority.create("Fleet")


@pytest.fixture(scope="session")
def brokers() -> Authority:
    return Authority.create("Broker")


@pytest.fixture(scope="session")
def device(devices: Authority) -> Credential:
    return devices.issue_device("core2-00001")


@pytest.fixture(scope="session")
def server(brokers: Authority) -> Credential:
    return brokers.issue_server(["localhost", "127.0.0.1"])


@pytest_asyncio.fixture(autouse=True)
async def nothing_left() -> AsyncIterator[None]:
    """Fail the test that leaves a descriptor, a task or a watched socket."""
    descriptors = open_descriptors()
    yield
    await asyncio.sleep(0)
    assert open_descriptors() - descriptors == set()
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.fixture
def listener(nothing_left: None) -> Iterator[Listener]:
    with Listener() as listening:
        yield listening
