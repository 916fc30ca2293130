"""How long it takes to issue a fleet into a file, and to read it again; prints one JSON line.

python benchmarks/issuing.py [--devices 10000] [--key ec-p256]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from simulator.identity import keys
from simulator.identity.authority import Authority
from simulator.identity.store import FleetStore
from simulator.scenario.kinds import KeyKind


def issuing(devices: int, key: KeyKind) -> dict[str, float | int | str]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.fleet"
        with FleetStore.create(path, Authority.create("Bench")) as fleet:
            began, cpu = time.perf_counter(), time.process_time()
            fleet.issue(devices, key=key)
            issued, issued_cpu = time.perf_counter() - began, time.process_time() - cpu
        with FleetStore.open(path) as fleet:
            began = time.perf_counter()
            read = len(fleet.credentials())
            reading = time.perf_counter() - began
        assert read == devices
        return {
            "devices": devices,
            "key": key.value,
            "issue_seconds": round(issued, 3),
            "issue_cpu_seconds": round(issued_cpu, 3),
            "issue_floor_cpu_seconds": round(floor(key) * devices, 3),
            "read_seconds": round(reading, 3),
            "file_bytes_per_device": round(path.stat().st_size / devices),
        }


def floor(key: KeyKind, sample: int = 500) -> float:
    """Return the CPU seconds of a device's bare cryptography: make its key, and sign with the issuer's."""
    issuer = ec.generate_private_key(ec.SECP256R1())
    data = bytes(400)
    sample = sample if key not in {KeyKind.RSA_2048, KeyKind.RSA_3072} else 20
    began = time.process_time()
    for _ in range(sample):
        keys.generate(key)
        issuer.sign(data, ec.ECDSA(hashes.SHA256()))
    return (time.process_time() - began) / sample


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--devices", type=int, default=10_000)
    parser.add_argument("--key", type=KeyKind, choices=list(KeyKind), default=KeyKind.EC_P256)
    arguments = parser.parse_args()
    print(json.dumps(issuing(arguments.devices, arguments.key)))
