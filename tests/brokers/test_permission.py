"""Whose permission a run needs. No test here, or anywhere, connects to an address that is not loopback."""

from __future__ import annotations

import socket
import tomllib

import pytest

from simulator.brokers.permission import MOST_CONNECTS, MOST_MESSAGES, objections, public
from simulator.link.address import Address, addresses
from simulator.scenario.kinds import Endpoint
from simulator.scenario.model import Scenario

NAME = Endpoint("broker.example", 8883)
PUBLIC = "93.184.216.34"


def at(*found: str) -> tuple[Address, ...]:
    """Return what a name server would say, in the resolver's own shape."""
    return tuple(address for each in found for address in addresses(Endpoint(each, 8883)))


def scenario(connect: str = "100/s", every: str = "1s", **tables: object) -> Scenario:
    text = f"""
title = "A thousand devices"
[broker]
kind = "external"
endpoints = ["{NAME}"]
[fleet.core2]
devices = 1000
telemetry = {{ topic = "t", every = "{every}" }}
[[stage]]
name = "ramp"
connect = {{ fleet = "core2", rate = "{connect}" }}
"""
    document = tomllib.loads(text)
    for table, values in tables.items():
        document.setdefault(table, {}).update(values)
    return Scenario.model_validate(document)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.9.10",
        "::1",
        "0.0.0.0",  # this machine, as Linux takes it
        "10.1.2.3",
        "172.31.0.1",
        "192.168.1.1",
        "169.254.7.7",
        "100.64.0.1",  # shared by a provider's customers, and by private overlays
        "192.0.2.1",  # for documentation, and nobody's
        "fd12::1",
        "fe80::1",
        "::ffff:10.0.0.1",
    ],
)
def test_needs_no_permission(address: str) -> None:
    assert public(at(address)) == []
    assert objections(scenario(), {NAME: at(address)}) == []


@pytest.mark.parametrize(
    "address", [PUBLIC, "8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:2800:220:1::1", "::ffff:8.8.8.8"]
)
def test_needs_permission(address: str) -> None:
    assert public(at(address)) == [address]
    (objection,) = objections(scenario(), {NAME: at(address)})
    assert objection == (
        f"the broker at {NAME} ({address}) can be reached from anywhere, so it may not be yours to load: if"
        " its operator lets you, say so with --authorised, or with authorised = true in [broker]"
    )


def test_a_link_local_address_may_name_its_interface() -> None:
    scoped = Address("router", socket.AF_INET6, ("fe80::1%lo", 8883, 0, 1))
    assert public([scoped]) == []


def test_permission_is_the_operators_and_is_given_once() -> None:
    permitted = scenario(broker={"authorised": True})
    assert objections(permitted, {NAME: at(PUBLIC), Endpoint("8.8.8.8", 1): at("8.8.8.8")}) == []


def test_one_public_address_among_private_ones_is_enough() -> None:
    found = {Endpoint("10.0.0.1", 8883): at("10.0.0.1"), NAME: at("10.0.0.2", PUBLIC, "::1", "8.8.8.8")}
    (objection,) = objections(scenario(), found)
    assert f"the broker at {NAME} ({PUBLIC}, 8.8.8.8) can" in objection


def test_an_address_that_was_given_as_such_is_told_once() -> None:
    (objection,) = objections(scenario(), {Endpoint("8.8.8.8", 8883): at("8.8.8.8")})
    assert "the broker at 8.8.8.8:8883 can" in objection


def test_the_ceiling_is_what_a_public_broker_gets_unasked() -> None:
    just = scenario(f"{MOST_CONNECTS:.0f}/s", f"{1000 / MOST_MESSAGES:.0f}s", broker={"authorised": True})
    assert objections(just, {NAME: at(PUBLIC)}) == []
    beyond = scenario("101/s", "999ms", broker={"authorised": True})
    assert objections(beyond, {NAME: at(PUBLIC)}) == [
        'stage "ramp" asks for 101 connects/s, and limits.connects allows 100/s at broker.example:8883'
        f" ({PUBLIC}), which can be reached from anywhere: lower the load, or raise the limit with --set"
        " limits.connects=101/s",
        'stage "ramp" asks for 1,001.001001 messages/s, and limits.messages allows 1,000/s at'
        f" broker.example:8883 ({PUBLIC}), which can be reached from anywhere: lower the load, or raise the"
        " limit with --set limits.messages=1002/s",
    ]


def test_the_limit_that_is_offered_is_enough() -> None:
    permitted = {"authorised": True}
    (objection,) = objections(scenario("1/s", "7ms", broker=permitted), {NAME: at(PUBLIC)})
    offered = objection.rpartition("limits.messages=")[2]
    raised = scenario("1/s", "7ms", broker=permitted, limits={"messages": offered})
    assert objections(raised, {NAME: at(PUBLIC)}) == []


def test_the_ceiling_is_not_for_brokers_of_ones_own() -> None:
    beyond = scenario("5000/s", "1ms")
    assert objections(beyond, {NAME: at("127.0.0.1")}) == []
    assert objections(beyond, {}) == []


def test_a_limit_that_is_given_raises_the_ceiling() -> None:
    limits = {"connects": "5000/s", "messages": "1000000/s"}
    raised = scenario("5000/s", "1ms", broker={"authorised": True}, limits=limits)
    assert objections(raised, {NAME: at(PUBLIC)}) == []


@pytest.mark.parametrize("address", [PUBLIC, "127.0.0.1"])
def test_a_limit_that_is_given_holds_everywhere(address: str) -> None:
    given = scenario("50/s", broker={"authorised": True}, limits={"connects": "20/s", "messages": "10/s"})
    assert objections(given, {NAME: at(address)}) == [
        'stage "ramp" asks for 50 connects/s, and limits.connects allows 20/s: lower the load, or raise the'
        " limit with --set limits.connects=50/s",
        'stage "ramp" asks for 1,000 messages/s, and limits.messages allows 10/s: lower the load, or raise'
        " the limit with --set limits.messages=1000/s",
    ]
