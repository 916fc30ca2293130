from __future__ import annotations

import re

import pytest

from simulator.metrics.outcome import TLS_ALERTS, Outcome, meaning


@pytest.mark.parametrize("outcome", [*Outcome, *TLS_ALERTS.values()])
def test_every_outcome_is_snake_case_and_has_a_meaning_of_one_line(outcome: str) -> None:
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", outcome)
    said = meaning(outcome)
    assert said is not None
    assert "\n" not in said


def test_names_that_pass_through_speak_for_themselves() -> None:
    assert meaning("not_authorized") is None


@pytest.mark.parametrize(
    ("code", "name"), [(42, "bad_certificate"), (48, "unknown_ca"), (116, "certificate_required")]
)
def test_alerts_have_the_names_of_rfc_8446_appendix_b_2(code: int, name: str) -> None:
    assert TLS_ALERTS[code] == name


def test_an_alert_without_a_meaning_of_its_own_is_named_as_one() -> None:
    assert meaning("record_overflow") == "the broker ended TLS with the alert record_overflow"
