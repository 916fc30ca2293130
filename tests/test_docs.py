"""The pages in docs/ say what the code says: keys that are read off it, and examples that run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator.devices.device import DeviceState
from simulator.metrics.sample import Failure
from simulator.report.figures import REPORT
from simulator.report.run import RunStatus
from simulator.scenario.loader import load
from simulator.scenario.reference import reference
from tests.report.example import play

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(__file__).parent.parent / "docs"
SCENARIOS = (DOCS / "scenarios.md").read_text(encoding="utf-8")
REPORTS = (DOCS / "report.md").read_text(encoding="utf-8")


def test_the_reference_is_that_of_the_model() -> None:
    _, _, keys = SCENARIOS.partition("\n## Every key\n\n")
    assert keys == reference(), "run: make reference"


def test_the_reference_has_every_table_and_links_to_it() -> None:
    made = reference()
    headings = re.findall(r"^### (.+)$", made, re.MULTILINE)
    assert {"broker", "fleet.NAME.telemetry", "stage[].connect", "limits"} <= set(headings)
    anchors = {re.sub(r"[^\w-]", "", each.lower()) for each in headings}
    links = re.findall(r"\]\(#(\w+)\)", made)
    assert len(links) > 10
    assert [link for link in links if link not in anchors] == []


def test_the_reference_says_what_may_stand_where() -> None:
    rows = reference().splitlines()
    assert any(row.startswith('| `every` | a duration, such as `"1s"` | *needed* |') for row in rows)
    assert any(row.startswith('| `validity` | a duration, such as `"15s"` | `"365d"` |') for row in rows)
    assert any(row.startswith("| `qos` | `0`, `1`, `2` | `0` |") for row in rows)
    assert any(row.startswith("| `share` | a share, such as `0.5` | `1` |") for row in rows)
    assert any(row.startswith("| `port` | a whole number, 0 to 65,535 | `0` |") for row in rows)


def test_the_example_is_a_scenario(tmp_path: Path) -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", SCENARIOS, re.DOTALL)
    path = tmp_path / "example.toml"
    path.write_text(text, encoding="utf-8")
    assert load(path).scenario.fleets["sensor"].devices == 200


def test_the_pages_link_to_pages_that_exist() -> None:
    for page in DOCS.glob("*.md"):
        links = re.findall(r"\]\(([\w./-]+)\)", page.read_text(encoding="utf-8"))
        assert [link for link in links if not (DOCS / link).exists()] == []


def properties(schema: dict[str, Any]) -> Iterator[str]:
    for table in (schema, *schema.get("$defs", {}).values()):
        yield from table.get("properties", {})


def test_every_key_of_a_report_is_explained() -> None:
    keys = set(properties(REPORT.json_schema(by_alias=True)))
    assert len(keys) > 50
    assert sorted(key for key in keys if f"`{key}`" not in REPORTS) == []


def test_every_key_of_the_lines_that_a_run_writes_is_explained(tmp_path: Path) -> None:
    folder = play(tmp_path)
    folder.close(RunStatus.COMPLETE)
    lines = (folder.path / "intervals.jsonl").read_text(encoding="utf-8").splitlines()
    keys = set(json.loads(lines[0])) | set(Failure._fields) | set(DeviceState)
    keys |= {
        key for kinds in json.loads(lines[0])["arrivals"].values() for one in kinds.values() for key in one
    }
    assert sorted(key for key in keys if f"`{key}`" not in REPORTS) == []
    assert [path.name for path in folder.path.iterdir() if f"`{path.name}`" not in REPORTS] == []
