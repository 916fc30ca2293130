"""Imports go down only: the floors of the design, enforced on the syntax tree of every module."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import simulator

if TYPE_CHECKING:
    from collections.abc import Iterator

# The longest name that fits decides. The report stands beside the floors: it may use the values of floor 0
# alone, and only engine and command line use it.
FLOORS = {
    "": 0,  # the package itself: its version
    "errors": 0,
    "clock": 0,
    "arrival": 0,
    "timetable": 0,
    "scenario": 0,
    "metrics": 0,
    "mqtt": 0,
    "scenario.loader": 1,
    "scenario.shipped": 1,
    "identity": 1,
    "link": 2,
    "serial": 2,
    "pacer": 2,
    "devices": 3,
    "shard": 4,
    "brokers": 4,
    "cloud": 4,
    "rotation": 4,
    "cloning": 4,
    "report": 4.5,
    "engine": 5,
    "planning": 5.5,
    "cli": 6,
    "__main__": 6,
}
LIBRARIES = {
    "mqtt5": ("mqtt.codec5", "mqtt.guard5"),
    "hdrh": ("metrics",),
    "cryptography": ("identity", "link", "brokers.external"),  # external: reads the operator's trust anchors
    "OpenSSL": ("link",),
    "serial": ("serial",),
    "aiomqtt": ("brokers", "cloud", "rotation", "cloning"),
    "amqtt": ("brokers.embedded",),
    "distributed": ("engine",),
    "uvloop": ("brokers.embedded", "engine", "cli"),
    "rich": ("report.text", "report.progress", "planning.text", "cli"),
    "typer": ("cli",),
}
NO_VALUES = frozenset(
    {"asyncio", "os", "pathlib", "selectors", "socket", "sqlite3", "ssl", "subprocess", "threading"}
)
ROOT = Path(simulator.__file__).parent


def belongs(module: str, to: str) -> bool:
    return module == to or module.startswith(f"{to}.")


def floor_of(module: str) -> float:
    name = max((name for name in FLOORS if name and belongs(module, name)), key=len, default="")
    if module and not name:
        raise LookupError(
            f"simulator.{module} stands on no floor: give it one in the design and in this test"
        )
    return FLOORS[name]


def imports(tree: ast.AST, *, typing_only: bool = False) -> Iterator[tuple[str, bool]]:
    """Yield each imported name, dotted, and whether it is for annotations only."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, typing_only) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the floor"
            yield from ((f"{node.module}.{alias.name}", typing_only) for alias in node.names)
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield from imports(ast.Module(node.body, []), typing_only=True)
            yield from imports(ast.Module(node.orelse, []), typing_only=typing_only)
        else:
            yield from imports(node, typing_only=typing_only)


def violations(module: str, source: str) -> list[str]:
    """Return what is wrong with the imports of ``module`` (dotted, without ``simulator.``)."""
    floor, found = floor_of(module), []
    for name, typing_only in imports(ast.parse(source)):
        top, _, below = name.partition(".")
        if top == "simulator":
            target = floor_of(below if below and exists(below) else below.rpartition(".")[0])
            ours = belongs(module, "report")
            if target > floor or (ours and target > 0 and not belongs(below, "report")):
                found.append(f"{module} imports {name}: up")
        elif top in LIBRARIES and not any(belongs(module, place) for place in LIBRARIES[top]):
            found.append(f"{module} imports {name}: not its library")
        elif floor == 0 and top in NO_VALUES and not typing_only:
            found.append(f"{module} imports {name}: values only on floor 0")
    return found


def exists(module: str) -> bool:
    path = ROOT.joinpath(*module.split("."))
    return path.is_dir() or path.with_suffix(".py").exists()


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=name_of)
def test_imports_go_down_only(path: Path) -> None:
    assert violations(name_of(path), path.read_text()) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("metrics.planted", "from simulator.identity import store"),
        ("metrics.planted", "import simulator.identity.store"),
        ("metrics.planted", "from simulator import identity"),
        ("clock", "def late():\n    from simulator.link.link import Link"),
        ("devices.planted", "if TYPE_CHECKING:\n    from simulator.shard import Shard"),
        ("report.planted", "from simulator.link.address import resolve"),
        ("report.planted", "from simulator.scenario.loader import load"),
        ("shard", "from simulator.report.folder import RunFolder"),
        ("engine.planted", "from simulator.cli.run import run"),
        ("scenario.model", "from simulator.scenario.loader import load"),
        ("scenario.planted", "import asyncio"),
        ("timetable", "from pathlib import Path"),
        ("arrival", "if not TYPE_CHECKING:\n    import socket"),
        ("arrival", "if TYPE_CHECKING:\n    import math\nelse:\n    import socket"),
        ("devices.planted", "import aiomqtt"),
        ("engine.planted", "from OpenSSL import SSL"),
        ("mqtt.session", "if TYPE_CHECKING:\n    import mqtt5"),
        ("report.planted", "import rich.table"),
        ("brokers.mosquitto", "from amqtt.broker import Broker"),
    ],
)
def test_a_planted_import_is_found(module: str, source: str) -> None:
    assert len(violations(module, source)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("pacer", "if TYPE_CHECKING:\n    import asyncio"),
        ("arrival", "if TYPE_CHECKING:\n    from pathlib import Path"),
        ("report.planted", "from pathlib import Path\nfrom simulator.metrics.sample import Phase"),
        ("engine.planted", "from simulator.report.folder import RunFolder"),
        ("link.planted", "from OpenSSL import SSL\nfrom simulator import clock"),
    ],
)
def test_an_import_that_goes_down_is_left_alone(module: str, source: str) -> None:
    assert violations(module, source) == []


def test_a_module_without_a_floor_is_found() -> None:
    with pytest.raises(LookupError, match="newcomer"):
        violations("newcomer", "")
