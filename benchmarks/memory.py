"""Resident memory of one connected device: certificate, TLS connection, session and telemetry."""

from __future__ import annotations

import json

import psutil
import uvloop
from rig import issue, mosquitto, run, scenario

from simulator.engine.descriptors import raise_descriptor_limit
from simulator.identity.authority import Authority

DEVICES = 5_000


async def measure() -> dict[str, float]:
    """Compare this process's RSS before the fleet exists with that when 5,000 devices are connected."""
    raise_descriptor_limit(DEVICES)
    authority = Authority.create("Benchmark")
    before = psutil.Process().memory_info().rss
    members = issue(DEVICES, authority)
    seen: list[tuple[int, int]] = []
    stages = [{"name": "connect", "connect": {"fleet": "bench", "rate": "250/s"}, "duration": "25s"}]
    async with mosquitto(authority) as broker:
        await run(
            scenario(DEVICES, stages, every="60s"),
            members,
            broker,
            lambda snapshot: seen.append((snapshot.devices["bench"].get("connected", 0), snapshot.rss)),
        )
    rss = next(rss for connected, rss in reversed(seen) if connected == DEVICES)
    return {
        "rss_kib_per_device": round((rss - before) / DEVICES / 1024, 1),
        "rss_mib_process": round(rss / 1024 / 1024, 1),
        "rss_devices": DEVICES,
    }


if __name__ == "__main__":
    print(json.dumps(uvloop.run(measure())))
