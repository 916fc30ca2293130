"""The ledger against a model that keeps everything, and one fate at a time."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.metrics.delivery import DeliveryCounts, DeliveryKey
from simulator.metrics.ledger import Ledger, Sent
from simulator.metrics.sample import Phase

MS = 1_000_000


class Books(NamedTuple):
    ledger: Ledger
    interval: dict[int, DeliveryCounts]

    @property
    def whole(self) -> DeliveryCounts:
        total = DeliveryCounts()
        for counts in self.interval.values():
            total.add(counts)
        return total


def books() -> Books:
    interval = {qos: DeliveryCounts() for qos in (0, 1, 2)}
    return Books(Ledger("core2", Phase.DELIVER, interval.__getitem__), interval)


def sent(made: Books, *numbers: int, qos: int = 1, sender: str = "a") -> None:
    for number in numbers:
        made.ledger.sent(sender, number, Sent(qos, number * MS, number * MS + 5))


def counted(made: Books) -> dict[str, int]:
    """Return the counts that are not zero."""
    return {name: count for name, count in asdict(made.whole).items() if count}


def test_what_is_heard_once_and_in_order_is_delivered() -> None:
    made = books()
    for number in (1, 2, 3):
        sent(made, number)
        entered = made.ledger.heard("a", number, number * MS + 9, due=number * MS)
        assert entered == Sent(1, number * MS, number * MS + 5)
    assert made.ledger.awaited == 0
    made.ledger.settle()
    assert counted(made) == {"sent": 3, "delivered": 3}
    assert made.whole.flawless


def test_what_is_never_heard_is_lost_once_that_is_settled() -> None:
    made = books()
    sent(made, 1, 2, 3)
    made.ledger.heard("a", 2, 9 * MS)
    assert (counted(made), made.ledger.awaited) == ({"sent": 3, "delivered": 1}, 2)
    assert not made.whole.settled
    made.ledger.settle()
    assert counted(made) == {"sent": 3, "delivered": 1, "lost": 2}
    assert made.whole.settled


def test_what_is_heard_again_is_a_duplicate_of_the_quality_it_was_sent_with() -> None:
    made = books()
    sent(made, 1, qos=0)
    sent(made, 2, qos=2)
    sent(made, 3, qos=0)
    for number in (1, 2, 3, 2, 2, 1):
        made.ledger.heard("a", number, 9 * MS)
    assert [made.interval[qos].duplicated for qos in (0, 1, 2)] == [1, 0, 2]
    assert counted(made)["delivered"] == 3


def test_what_comes_after_a_later_one_is_reordered_but_only_within_a_quality_of_service() -> None:
    made = books()
    sent(made, 1, 2, 3, qos=1)
    sent(made, 4, qos=2)
    for number in (4, 2, 3, 1):
        made.ledger.heard("a", number, 9 * MS)
    assert counted(made) == {"sent": 4, "delivered": 4, "reordered": 1}


def test_an_answer_may_have_a_lower_number_than_the_one_before() -> None:
    made = books()
    sent(made, 2, 1)
    assert made.ledger.heard("a", 2, 9 * MS)
    assert made.ledger.heard("a", 1, 9 * MS)
    assert counted(made) == {"sent": 2, "delivered": 2, "reordered": 1}


def test_a_message_without_acknowledgement_is_not_known_to_be_lost() -> None:
    made = books()
    sent(made, 1, 2)
    made.ledger.unconfirmed("a", 2 * MS + 5)
    assert made.ledger.awaited == 1
    made.ledger.settle()
    assert counted(made) == {"sent": 2, "lost": 1, "unconfirmed": 1}


def test_a_message_without_acknowledgement_may_come_all_the_same() -> None:
    made = books()
    sent(made, 1)
    made.ledger.unconfirmed("a", MS + 5)
    made.ledger.unconfirmed("a", MS + 5)
    assert made.ledger.awaited == 0
    assert made.ledger.heard("a", 1, 9 * MS)
    assert made.ledger.awaited == 0
    made.ledger.settle()
    assert counted(made) == {"sent": 1, "delivered": 1}


def test_no_acknowledgement_for_what_has_been_heard_changes_nothing() -> None:
    made = books()
    sent(made, 1, 2)
    made.ledger.heard("a", 1, 9 * MS)
    made.ledger.unconfirmed("a", MS + 5)
    made.ledger.unconfirmed("nobody", MS + 5)
    assert made.ledger.awaited == 1


def test_what_was_sent_while_nobody_listened_is_not_lost() -> None:
    made = books()
    sent(made, 1, 2, 3, 4)
    made.ledger.heard("a", 2, 9 * MS)
    made.ledger.unobserved(2 * MS, 3 * MS + 5)
    assert made.ledger.awaited == 2
    made.ledger.settle()
    assert counted(made) == {"sent": 4, "delivered": 1, "lost": 2, "unobserved": 1}


@pytest.mark.parametrize(
    ("sender", "number", "due"),
    [("nobody", 1, MS), ("a", 2, 2 * MS), ("a", 0, 0), ("a", -1, 0), ("a", 1, MS + 1)],
    ids=["unknown sender", "higher number", "zero", "below zero", "another time"],
)
def test_what_nobody_here_has_sent_counts_for_nothing(sender: str, number: int, due: int) -> None:
    made = books()
    sent(made, 1)
    assert made.ledger.heard(sender, number, 9 * MS, due=due) is None
    assert (counted(made), made.ledger.strangers, made.ledger.awaited) == ({"sent": 1}, 1, 1)


def test_what_carries_a_number_heard_already_is_a_duplicate_whoever_sent_it() -> None:
    made = books()
    sent(made, 1)
    made.ledger.heard("a", 1, 9 * MS, due=MS)
    assert made.ledger.heard("a", 1, 9 * MS, due=7) is None
    assert (counted(made), made.ledger.strangers) == ({"sent": 1, "delivered": 1, "duplicated": 1}, 0)


def test_each_sender_has_its_own_account() -> None:
    made = books()
    sent(made, 1, 2, sender="a")
    sent(made, 1, sender="b", qos=0)
    made.ledger.heard("a", 1, 3 * MS)
    made.ledger.heard("a", 2, 7 * MS)
    made.ledger.settle()
    whole = {each.device: each for each in made.ledger.devices()}
    assert whole["a"].key == DeliveryKey("core2", Phase.DELIVER, 1)
    assert whole["a"].counts == DeliveryCounts(sent=2, delivered=2)
    assert (whole["a"].mean, whole["a"].max) == (3_500, 5_000), "microseconds from due: 2 and 5 ms"
    assert whole["b"].counts == DeliveryCounts(sent=1, lost=1)
    assert (whole["b"].mean, whole["b"].max) == (0, 0)


STEPS = st.lists(
    st.tuples(st.sampled_from("sshhhux"), st.sampled_from("ab"), st.integers(1, 8), st.integers(0, 2)),
    max_size=60,
)


@given(STEPS)
def test_against_a_model_that_keeps_everything(steps: list[tuple[str, str, int, int]]) -> None:
    made, model = books(), Counter[str]()
    ways: dict[tuple[str, int], int] = {}
    heard: list[tuple[str, int]] = []
    excused: dict[tuple[str, int], str] = {}
    for step, sender, number, qos in steps:
        mine = [key for key in ways if key[0] == sender]
        key = sender, number
        if step == "s":
            key = sender, len(mine) + 1
            ways[key] = qos
            sent(made, key[1], qos=qos, sender=sender)
        elif step == "h":
            made.ledger.heard(sender, number, 9 * MS)
            if key not in ways:
                model["strangers"] += 1
            elif key in heard:
                model["duplicated"] += 1
            else:
                same = [other for who, other in heard if who == sender and ways[who, other] == ways[key]]
                model["reordered"] += any(other > number for other in same)
                heard.append(key)
        elif step == "u" and key in ways and key not in heard:
            made.ledger.unconfirmed(sender, number * MS + 5)
            excused.setdefault(key, "unconfirmed")
        elif step == "x":
            made.ledger.unobserved(number * MS, number * MS + 5)
            for other in {key for key in ways if key[1] == number and key not in heard}:
                excused.setdefault(other, "unobserved")
    missing = [key for key in ways if key not in heard]
    assert made.ledger.awaited == len([key for key in missing if key not in excused])
    made.ledger.settle()
    model["sent"], model["delivered"] = len(ways), len(heard)
    model.update(excused.get(key, "lost") for key in missing)
    assert made.ledger.strangers == model.pop("strangers", 0)
    assert counted(made) == {name: count for name, count in model.items() if count}
    assert made.whole.settled
    by_device = DeliveryCounts()
    for each in made.ledger.devices():
        by_device.add(each.counts)
    assert by_device == made.whole
