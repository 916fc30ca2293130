"""How long it takes to issue a fleet into a file, and to read it again; prints one JSON line.

python benchmarks/issuing.py [--devices 10000] [--key ec-p256]

The ratio is to the CPU of the bare cryptography, measured in turn with the fleet: to make each device's
key, and to sign with the issuer's. Unlike the seconds it hardly depends on what else the machine does.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from simulator.identity import keys
from simulator.identity.authority import Authority
from simulator.identity.store import FleetStore
from simulator.scenario.kinds import KeyKind

ROUNDS = 3


class Round(NamedTuple):
    """Seconds, and bytes of the fleet file."""

    issue: float
    issue_cpu: float
    floor_cpu: float
    read: float
    size: int


def measure(devices: int, key: KeyKind) -> dict[str, float | int | str]:
    rounds = [measure_once(devices, key) for _ in range(ROUNDS)]
    return {
        "devices": devices,
        "key": key.value,
        "issue_cpu_to_floor": round(median(one.issue_cpu / one.floor_cpu for one in rounds), 2),
        "issue_seconds": round(median(one.issue for one in rounds), 3),
        "issue_cpu_seconds": round(median(one.issue_cpu for one in rounds), 3),
        "issue_floor_cpu_seconds": round(median(one.floor_cpu for one in rounds), 3),
        "read_seconds": round(median(one.read for one in rounds), 3),
        "file_bytes_per_device": round(median(one.size for one in rounds) / devices),
    }


def measure_once(devices: int, key: KeyKind) -> Round:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.fleet"
        before = floor(devices // 2, key)
        with FleetStore.create(path, Authority.create("Bench")) as fleet:
            began, cpu = time.perf_counter(), time.process_time()
            fleet.issue(devices, key=key)
            issued, issued_cpu = time.perf_counter() - began, time.process_time() - cpu
        after = floor(devices - devices // 2, key)
        with FleetStore.open(path) as fleet:
            began = time.perf_counter()
            read = len(fleet.credentials())
            reading = time.perf_counter() - began
        assert read == devices
        return Round(issued, issued_cpu, before + after, reading, path.stat().st_size)


def floor(devices: int, key: KeyKind) -> float:
    """Return the CPU seconds of the bare cryptography: to make so many keys, and as many signatures."""
    issuer = ec.generate_private_key(ec.SECP256R1())
    data = bytes(400)
    began = time.process_time()
    for _ in range(devices):
        keys.generate(key)
        issuer.sign(data, ec.ECDSA(hashes.SHA256()))
    return time.process_time() - began


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--devices", type=int, default=10_000)
    parser.add_argument("--key", type=KeyKind, choices=list(KeyKind), default=KeyKind.EC_P256)
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.devices, arguments.key)))
