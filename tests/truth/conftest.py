"""One faulty broker for all tests here, papers for a fleet, and the proof that a run leaves nothing."""

from __future__ import annotations

import gc
import os
from typing import TYPE_CHECKING

import pytest
import uvloop
from OpenSSL import SSL

from simulator.devices.virtual import VirtualDevice
from simulator.identity.authority import Authority
from simulator.link.link import Link
from simulator.mqtt.session import Session
from tests.support.faulty_process import FaultyBroker
from tests.truth.rig import Rig, name_of

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator

MOST_DEVICES = 220


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run on uvloop, which is what a run uses."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def rig() -> Iterator[Rig]:
    fleet, brokers = Authority.create("Fleet"), Authority.create("Broker")
    names = [name_of(index) for index in range(MOST_DEVICES)]
    members = list(zip(names, fleet.issue_devices(names), strict=True))
    server = brokers.issue_server(["127.0.0.1"])
    with FaultyBroker(server, trust=fleet.root, stranger=brokers.root) as broker:
        yield Rig(broker, members, brokers.root)


@pytest.fixture
def first_in_line() -> Iterator[bool]:
    """Let this thread run as soon as it can, as the faulty broker does; False where that is not allowed.

    What else the machine has to do would show as latency: rightly, but it is not what is to be proven.
    """
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except PermissionError:
        yield False
        return
    yield True
    os.sched_setscheduler(0, *before)


def living() -> dict[str, int]:
    """Return how many of the things that a device is made of exist."""
    gc.collect()
    kinds = (VirtualDevice, Link, Session, SSL.Connection)
    counts = dict.fromkeys((kind.__name__ for kind in kinds), 0)
    for thing in gc.get_objects():
        if type(thing) in kinds:
            counts[type(thing).__name__] += 1
    return counts


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Fail the test whose run leaves a device or a connection in memory."""
    yield
    assert set(living().values()) == {0}, living()
