from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.scenario.overrides import (
    Override,
    authorised_override,
    broker_override,
    change,
    parse_override,
    seed_override,
)

TEXT = """\
title = "x"                # kept

[fleet.core2]              # kept, too
devices = 5

[[stage]]
name    = "ramp"
connect = { fleet = "core2", rate = "1/s" }   # and this

[[stage]]
name = "soak"

[fleet.core2.telemetry]    # far from its fleet
every = "1s"
"""


def changed(*overrides: str) -> dict[str, Any]:
    text, _, wrong = change(TEXT, [parse_override(each) for each in overrides])
    assert wrong == []
    assert "# kept\n" in text
    assert "# kept, too\n" in text
    assert "# and this\n" in text
    assert "# far from its fleet\n" in text
    return tomllib.loads(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a=2000", 2000),
        ("a=true", True),
        ("a=15s", "15s"),
        ("a = 100/s ", "100/s"),
        ("a=ec-p256", "ec-p256"),
        ('a="5"', "5"),
        ("a={ size = 256 }", {"size": 256}),
        ('a=["x", "y"]', ["x", "y"]),
        ("a=< 800ms", "< 800ms"),
        ("a=== 0", "== 0"),
        ("a=1\nb = 2", "1\nb = 2"),
        ("a=", ""),
    ],
)
def test_a_value_is_toml_or_else_text(text: str, value: object) -> None:
    assert parse_override(text) == Override(f"--set {text}", ("a",), value)


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("fleet.core2.devices", ("fleet", "core2", "devices")),
        ("stage[0].duration", ("stage", "0", "duration")),
        ("stage.0.duration", ("stage", "0", "duration")),
        ('thresholds."publish.p99"', ("thresholds", "publish.p99")),
        ("thresholds.'a=b'", ("thresholds", "a=b")),
    ],
)
def test_a_key_is_a_toml_key_or_has_indices(key: str, path: tuple[str, ...]) -> None:
    assert parse_override(f"{key}=1").path == path


@pytest.mark.parametrize("text", ["", "nonsense", "=5", "a b=5", "a..b=5", "[a]=5"])
def test_refuses_what_is_no_assignment(text: str) -> None:
    phrase = f"--set {text}: expected a key and a value, such as fleet.core2.devices=2000"
    with pytest.raises(ValueError, match=f"^{re.escape(phrase)}$"):
        parse_override(text)


def test_changes_values_where_they_stand() -> None:
    document = changed("fleet.core2.devices=7", "stage[0].connect.rate=9/s", "fleet.core2.telemetry.every=2s")
    assert document["fleet"]["core2"] == {"devices": 7, "telemetry": {"every": "2s"}}
    assert document["stage"][0]["connect"] == {"fleet": "core2", "rate": "9/s"}


def test_finds_a_stage_by_its_name() -> None:
    assert changed("stage.soak.duration=10m")["stage"][1] == {"name": "soak", "duration": "10m"}


def test_adds_what_is_not_there() -> None:
    document = changed(
        "seed=5", "limits.connecting=9", "fleet.core2.will.topic=a", 'thresholds."lag.p99"=< 1s'
    )
    assert document["seed"] == 5
    assert document["limits"] == {"connecting": 9}
    assert document["fleet"]["core2"]["will"] == {"topic": "a"}
    assert document["thresholds"] == {"lag.p99": "< 1s"}


def test_the_last_of_two_changes_stays() -> None:
    assert changed("fleet.core2.devices=7", "fleet.core2.devices=8")["fleet"]["core2"]["devices"] == 8


def test_adds_to_an_inline_table() -> None:
    assert changed("stage.ramp.connect.arrivals=poisson")["stage"][0]["connect"]["arrivals"] == "poisson"
    assert changed("stage.ramp.connect.deep.er=1")["stage"][0]["connect"]["deep"] == {"er": 1}


def test_returns_the_changes_with_the_paths_they_had() -> None:
    _, made, _ = change(TEXT, [parse_override("stage.soak.duration=10m"), seed_override(3)])
    assert [each.path for each in made] == [("stage", 1, "duration"), ("seed",)]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("fleet.core.devices=1", 'unknown fleet "core"; did you mean "core2"? This scenario has: core2'),
        ("fleet.other.devices=1", 'unknown fleet "other". This scenario has: core2'),
        ("stage.soap.duration=1m", 'there is no element "soap"; did you mean "soak"? There are: ramp, soak'),
        ("stage[2].duration=1m", 'there is no element "2". There are: ramp, soak'),
        ("title.x=1", "title is a value, and has no keys"),
        ("fleet.core2.devices.x=1", "fleet.core2.devices is a value, and has no keys"),
    ],
)
def test_says_which_path_does_not_exist(text: str, sentence: str) -> None:
    changed_text, made, wrong = change(TEXT, [parse_override(text)])
    assert wrong == [f"--set {text}: {sentence}"]
    assert made == []
    assert tomllib.loads(changed_text) == tomllib.loads(TEXT)


def test_says_how_many_elements_a_list_without_names_has() -> None:
    _, _, wrong = change("a = [1, 2]", [parse_override("a[2]=1")])
    assert wrong == ['--set a[2]=1: there is no element "2". There are: 0 to 1']


@pytest.mark.parametrize(
    ("text", "now", "table"),
    [
        ("mosquitto", None, {"kind": "mosquitto"}),
        ("mosquitto", {"kind": "embedded", "port": 1883}, {"kind": "mosquitto", "port": 1883}),
        ("mosquitto", {"kind": "mosquitto", "count": 3}, {"kind": "mosquitto", "count": 3}),
        ("embedded", {"kind": "mosquitto", "count": 3}, {"kind": "embedded"}),
        ("embedded", {"kind": "external", "endpoints": ["a"], "trust": ["ca.pem"]}, {"kind": "embedded"}),
        ("external", {"kind": "external", "endpoints": ["a"]}, {"kind": "external", "endpoints": ["a"]}),
        (
            "external",
            {"kind": "external", "endpoints": ["a"], "authorised": True},
            {"kind": "external", "endpoints": ["a"], "authorised": True},
        ),
        ("localhost", {"kind": "embedded", "port": 1}, {"kind": "external", "endpoints": ["localhost"]}),
        (
            "a.example, [::1]:1884",
            {"kind": "external", "endpoints": ["b"], "trust": ["ca.pem"]},
            {"kind": "external", "endpoints": ["a.example", "[::1]:1884"], "trust": ["ca.pem"]},
        ),
    ],
)
def test_another_broker_keeps_what_it_has_in_common(text: str, now: object, table: dict[str, object]) -> None:
    assert broker_override(text, now) == Override(f"--broker {text}", ("broker",), table)


def test_permission_to_load_one_broker_is_none_for_another() -> None:
    permitted = {"kind": "external", "endpoints": ["a.example"], "authorised": True}
    assert broker_override("b.example", permitted).value == {"kind": "external", "endpoints": ["b.example"]}


def test_permission_is_written_into_the_broker_that_is_meant() -> None:
    text, made, wrong = change("", [broker_override("a.example", None), authorised_override()])
    assert tomllib.loads(text)["broker"]["authorised"] is True
    assert (made[1].given, wrong) == ("--authorised", [])


def test_a_misspelled_broker_is_not_taken_for_a_host() -> None:
    with pytest.raises(ValueError, match=r"^--broker mosqito: expected .*; did you mean \"mosquitto\"\?$"):
        broker_override("mosqito", None)


BLOCKS = (
    "[fleet.a]\nx = 1\n",
    "[fleet.a.t]\ny = 1\n",
    "[fleet.b]\nz = 1\n",
    "[fleet.b.w.v]\nu = 1\n",
    '[[stage]]\nname = "r"\nc = { f = "a" }\n',
    "[limits]\nq = 1\n",
)
CHANGES = {
    "fleet.a.x=2": ("fleet", "a", "x"),
    "fleet.a.t.n=2": ("fleet", "a", "t", "n"),
    "fleet.a.new.deep=2": ("fleet", "a", "new", "deep"),
    "fleet.b.w.q=2": ("fleet", "b", "w", "q"),
    "stage[0].c.f=2": ("stage", 0, "c", "f"),
    "limits.q=2": ("limits", "q"),
    "seed=2": ("seed",),
}


@given(st.permutations(BLOCKS), st.lists(st.sampled_from(sorted(CHANGES)), max_size=3))
def test_changes_nothing_else_in_whatever_order_the_tables_stand(blocks: list[str], texts: list[str]) -> None:
    text = "\n".join(['title = "x"\n', *blocks])
    expected = tomllib.loads(text)
    for each in texts:
        *parents, last = CHANGES[each]
        node: Any = expected
        for key in parents:
            node = node[key] if isinstance(key, int) else node.setdefault(key, {})
        node[last] = 2
    changed_text, _, wrong = change(text, [parse_override(each) for each in texts])
    assert wrong == []
    assert tomllib.loads(changed_text) == expected
