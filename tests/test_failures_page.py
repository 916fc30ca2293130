"""The page of failures lists the outcomes that the code has, neither more nor less, each where it belongs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import mqtt5
import pytest

from simulator.metrics.outcome import TLS_ALERTS, Outcome
from simulator.metrics.sample import Phase
from simulator.mqtt.reasons import connack_name, disconnect_name
from tests.engine.test_outcomes import EITHER, V5, V311
from tests.truth.faults import OPENING, SESSIONS, TCP_AND_TLS

if TYPE_CHECKING:
    from enum import IntEnum

PAGE = (Path(__file__).parent.parent / "docs" / "failures.md").read_text(encoding="utf-8")
REASONS = "What the broker answers"
PACKETS: tuple[tuple[Phase, int, list[type[IntEnum]]], ...] = (
    (Phase.MQTT_CONNECT, 1, [mqtt5.ConnAckReasonCode]),
    (Phase.PUBLISH, 2, [mqtt5.PubAckReasonCode, mqtt5.PubRecReasonCode]),
    (Phase.SESSION, 3, [mqtt5.DisconnectReasonCode]),
)
"""Phases, their columns, and the packets that bring a reason in them."""


def rows(section: str) -> list[list[str]]:
    """Return the cells of a section's tables, without their headings."""
    _, _, behind = PAGE.partition(f"\n## {section}\n")
    lines = behind.partition("\n## ")[0].splitlines()
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("| `")]


def names(section: str) -> list[str]:
    return [row[0].strip("`") for row in rows(section)]


def bad_codes(kinds: list[type[IntEnum]]) -> set[int]:
    """Return the codes that such packets can have and that are no success."""
    codes = {code for code in range(256) if any(knows(kind, code) for kind in kinds)}
    return {code for code in codes if code >= 0x80 or kinds == [mqtt5.DisconnectReasonCode]}


def knows(kind: type[IntEnum], code: int) -> bool:
    try:
        kind(code)
    except ValueError:
        return False
    return True


def test_the_page_and_the_code_have_the_same_names() -> None:
    listed = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
    ours = {str(outcome) for outcome in Outcome} - {Outcome.OK}
    of_mqtt = {disconnect_name(code) for _, _, kinds in PACKETS for code in bad_codes(kinds)}
    assert listed == ours | set(TLS_ALERTS.values()) | of_mqtt


def test_each_section_is_a_phase_and_lists_a_name_once() -> None:
    sections = re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
    assert {section.strip("`") for section in sections} - {REASONS} <= set(Phase)
    for section in sections:
        assert len(names(section)) == len(set(names(section)))


def test_alerts_have_their_numbers() -> None:
    numbers = {row[0].strip("`"): int(row[1]) for row in rows(f"`{Phase.TLS_HANDSHAKE}`") if row[1].isdigit()}
    assert numbers == {name: code for code, name in TLS_ALERTS.items()}


@pytest.mark.parametrize(("phase", "column", "kinds"), PACKETS)
def test_reasons_stand_where_a_packet_can_have_them(
    phase: Phase, column: int, kinds: list[type[IntEnum]]
) -> None:
    found = {row[0].strip("`"): int(row[column].split()[0], 16) for row in rows(REASONS) if row[column]}
    assert found == {disconnect_name(code): code for code in bad_codes(kinds)}
    assert f"`{phase}`" in re.findall(r"^\| outcome \| (.+) \| means", PAGE, re.MULTILINE)[-1]


def test_return_codes_of_3_1_1_stand_beside_their_reasons() -> None:
    found = {
        int(old[1]): row[0].strip("`") for row in rows(REASONS) if (old := re.search(r"\((\d)\)", row[1]))
    }
    assert found == {code: connack_name(code) for code in range(1, 6)}


def test_what_the_tests_provoke_is_listed_under_its_phase() -> None:
    of_cases = (pair for case in TCP_AND_TLS + OPENING + SESSIONS for each in case.failures for pair in each)
    provoked = {*of_cases, *((phase, name) for phase, name, _ in EITHER + V311 + V5)}
    listed = {(phase, name) for phase in Phase for name in names(f"`{phase}`")}
    listed |= {
        (phase, row[0].strip("`")) for phase, column, _ in PACKETS for row in rows(REASONS) if row[column]
    }
    assert provoked - listed == set()
