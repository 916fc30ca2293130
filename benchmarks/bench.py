"""All benchmarks one after the other, each alone in its process; the last line printed is one JSON object."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PARTS = ("issuing", "connect", "publish", "memory", "pacing", "collector")


def main() -> None:
    figures: dict[str, object] = {}
    for part in PARTS:
        script = Path(__file__).with_name(f"{part}.py")
        print(f"{part} …", file=sys.stderr, flush=True)
        finished = subprocess.run([sys.executable, script], check=True, stdout=subprocess.PIPE, text=True)
        for name, figure in json.loads(finished.stdout.splitlines()[-1]).items():
            print(f"  {name:<28} {figure}", flush=True)
            figures[name] = figure
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
