"""The collector's longest pause while 20,000 devices come into being, and what a run's settings make of it.

All devices are made while the collector is on, with Python's settings and with those of a run, each in a
process of its own. In a run they exist before it is on, and only what connecting adds is new. A pause is CPU
time, so that other processes do not count.

    python collector.py                 both, as one JSON object
    python collector.py quiet           one side alone
"""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import subprocess
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import uvloop
from publish import Devices

from simulator.clock import MILLISECOND
from simulator.devices.context import Target
from simulator.engine.collector import quiet_collector
from simulator.identity.authority import Authority
from simulator.link.address import Address
from simulator.link.tls import TlsClient, TlsSettings
from simulator.scenario.kinds import TlsVersion

if TYPE_CHECKING:
    from collections.abc import Callable

DEVICES = 20_000

SIDES: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "default": nullcontext,
    "quiet": quiet_collector,
}


class Pauses:
    """How long each collection took, nanoseconds of CPU."""

    def __init__(self) -> None:
        self.lengths = [0]
        self._began = 0

    def __call__(self, phase: str, _: object) -> None:
        """Be told of the beginning or the end of one."""
        if phase == "start":
            self._began = time.thread_time_ns()
        else:
            self.lengths.append(time.thread_time_ns() - self._began)


async def longest(side: str) -> float:
    """Return the longest pause, milliseconds."""
    authority = Authority.create("Benchmark")
    credential = authority.issue_device("device")
    members = [(f"device-{number:05d}", credential) for number in range(DEVICES)]
    tls = TlsClient(TlsSettings(version=TlsVersion.V13, trust=(authority.root,)), "localhost")
    target = Target(Address("localhost", socket.AF_INET, ("127.0.0.1", 1)), tls)
    pauses = Pauses()
    async with asyncio.TaskGroup() as group:
        with SIDES[side]():
            gc.callbacks.append(pauses)
            devices = Devices(members, target, group)
            gc.callbacks.remove(pauses)
        devices.finish()
    return max(pauses.lengths) / MILLISECOND


def alone(side: str) -> float:
    """Return what one side prints in a process of its own."""
    command = [sys.executable, __file__, side]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


if __name__ == "__main__":
    if sys.argv[1:]:
        print(uvloop.run(longest(sys.argv[1])))
    else:
        print(json.dumps({f"collector_{side}_longest_ms": round(alone(side), 2) for side in SIDES}))
