"""Names of reason codes: reports and thresholds depend on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mqtt5
import pytest

from simulator.mqtt.reasons import Reason, connack_name, disconnect_name, reason_name

if TYPE_CHECKING:
    from collections.abc import Callable


def _knows(kind: Callable[[int], object], code: int) -> bool:
    try:
        kind(code)
    except ValueError:
        return False
    return True


def test_every_code_that_mqtt5_knows_has_a_name() -> None:
    kinds = [kind for name, kind in vars(mqtt5).items() if name.endswith("ReasonCode")]
    codes = {code for kind in kinds for code in range(256) if _knows(kind, code)}
    assert codes == {int(code) for code in Reason}
    assert len({reason_name(code) for code in codes}) == len(codes)


def test_a_refusal_has_the_same_name_in_both_versions() -> None:
    for old, new in ((1, 0x84), (2, 0x85), (3, 0x88), (4, 0x86), (5, 0x87)):
        assert connack_name(old) == connack_name(new)


def test_leaving_is_no_success() -> None:
    assert disconnect_name(0) == "normal_disconnection"
    assert disconnect_name(0x8B) == "server_shutting_down"


def test_there_is_no_such_code() -> None:
    with pytest.raises(ValueError, match="3"):
        reason_name(3)
