"""How true a plan is: forecasts each scenario that ships, runs it, and compares; wants an idle machine.

    python benchmarks/forecast.py [SCENARIO ...]

The last line is one JSON object; the exit code is 1 where CPU or memory of the generator is off by more than
a quarter.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from rig import BrokenBenchmarkError

MIB = 1 << 20
MOST = 25.0
"""Percent."""
SCENARIOS: dict[str, tuple[str, ...]] = {
    "quickstart": (),
    "connect-storm": (),
    "steady-telemetry": ("stage.steady.duration=20s",),
    "reconnect-after-outage": (),
    "resumption": (),
    "revocation": (),
    "end-to-end": (),
}
"""What is forecast, and how it is made shorter."""


def simulator(*arguments: str, changes: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    """Run a verb with changes to its scenario."""
    options = [word for change in changes for word in ("--set", change)]
    command = [sys.executable, "-m", "simulator", *arguments, *options]
    return subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)


def planned(name: str, changes: tuple[str, ...]) -> dict[str, Any]:
    """Return the forecast for one worker."""
    ended = simulator("plan", name, "--json", changes=changes)
    if ended.returncode:
        raise BrokenBenchmarkError(f"the plan of {name} ended with exit code {ended.returncode}")
    worker: dict[str, Any] = json.loads(ended.stdout)["workers"][0]
    return worker


def ran(name: str, changes: tuple[str, ...]) -> dict[str, Any]:
    """Return what the report says of the generator."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "run"
        ended = simulator("run", name, "--out", str(folder), changes=changes)
        if ended.returncode not in {0, 1, 3}:
            raise BrokenBenchmarkError(f"the run of {name} ended with exit code {ended.returncode}")
        generator: dict[str, Any] = json.loads((folder / "report.json").read_text())["generator"]
    return generator


def off(forecast: float, measured: float) -> float:
    """Return by how many percent of what was measured a forecast is off."""
    return round((forecast / measured - 1) * 100, 1)


def compare(name: str, changes: tuple[str, ...]) -> dict[str, float]:
    """Return forecast and measurement of one scenario."""
    plan, run = planned(name, changes), ran(name, changes)
    return {
        "cpu_s_forecast": plan["cpu_seconds"],
        "cpu_s_run": round(run["cpu_seconds"], 2),
        "cpu_off_percent": off(plan["cpu_seconds"], run["cpu_seconds"]),
        "busiest_forecast": plan["cpu_share_peak"],
        "busiest_run": round(run["cpu_share_peak"], 3),
        "busiest_off_percent": off(plan["cpu_share_peak"], run["cpu_share_peak"]),
        "memory_mib_forecast": round(plan["memory"] / MIB, 1),
        "memory_mib_run": round(run["memory_peak"] / MIB, 1),
        "memory_off_percent": off(plan["memory"], run["memory_peak"]),
    }


def main() -> None:
    compared = {name: compare(name, SCENARIOS.get(name, ())) for name in sys.argv[1:] or SCENARIOS}
    judged = ("cpu_off_percent", "memory_off_percent")
    true = all(abs(each[figure]) <= MOST for each in compared.values() for figure in judged)
    print(json.dumps({**compared, "forecast_within_a_quarter": true}))
    sys.exit(0 if true else 1)


if __name__ == "__main__":
    main()
