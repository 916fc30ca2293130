from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from simulator.clock import SECOND
from simulator.planning.load import count
from simulator.planning.miniature import FLEETS, IDLE, miniature, warm_up
from simulator.planning.work import Kind, Work
from simulator.scenario.kinds import BrokerKind
from simulator.scenario.loader import load
from simulator.timetable import timetable
from tests.planning.made import loaded
from tests.support.command import SMALL

if TYPE_CHECKING:
    from pathlib import Path

    from simulator.planning.miniature import Miniature
    from simulator.scenario.loader import LoadedScenario


def mini(scenario: LoadedScenario, broker: BrokerKind = BrokerKind.EMBEDDED) -> Miniature:
    return miniature(scenario, count(scenario.scenario), broker)


def beside(name: str, devices: int) -> str:
    """Return one more fleet, which connects in a stage of its own."""
    connect = f'connect = {{ fleet = "{name}", rate = "100/s" }}'
    return f'[fleet.{name}]\ndevices = {devices}\n[[stage]]\nname = "{name}"\n{connect}\n'


def kinds(made: Miniature) -> list[Kind]:
    return [work.kind for work in made.stages.values()]


@pytest.mark.parametrize(
    "name",
    ["quickstart", "connect-storm", "steady-telemetry", "reconnect-after-outage", "resumption", "end-to-end"],
)
def test_a_shipped_scenario_becomes_one_of_seconds(name: str) -> None:
    whole = load(name)
    made = mini(whole)
    names = [stage.name for stage in made.loaded.scenario.stages]
    assert names == [IDLE, *made.stages]
    assert timetable(made.loaded.scenario)[-1].end < 14 * SECOND
    for fleet, few in made.fleets.items():
        assert 0 < few.devices <= whole.scenario.fleets[fleet].devices
        assert few.tls is whole.scenario.fleets[fleet].tls
        assert few.resumption is whole.scenario.fleets[fleet].resumption


def test_only_what_a_scenario_does_is_measured(tmp_path: Path) -> None:
    plain = mini(loaded(tmp_path))
    assert kinds(plain) == [Kind.CONNECT, Kind.TEND, Kind.MESSAGE, Kind.RECONNECT, Kind.FAREWELL]
    assert Kind.FAILURE in kinds(mini(load("reconnect-after-outage")))
    assert Kind.COMMAND in kinds(mini(load("end-to-end")))
    assert Kind.RECONNECT not in kinds(mini(load("steady-telemetry")))


def test_who_connects_at_once_does_so_here() -> None:
    storm = mini(load("connect-storm"), BrokerKind.MOSQUITTO).loaded.scenario.stages[1].connect
    assert storm is not None
    assert (storm.arrivals, storm.size, storm.rate) == ("burst", 100, 200)
    assert mini(load("quickstart")).loaded.scenario.stages[1].connect != storm


def test_fleets_keep_their_proportion() -> None:
    made = mini(load("steady-telemetry"))
    assert made.fleets["sensor"].devices / made.fleets["gateway"].devices == pytest.approx(20, rel=0.1)
    assert made.stages["connect gateway"] == Work(Kind.CONNECT, "gateway")


def test_the_largest_fleets_stand_for_the_others(tmp_path: Path) -> None:
    made = mini(
        loaded(tmp_path, text=SMALL + "".join(beside(f"f{number}", number) for number in range(1, 7)))
    )
    assert list(made.fleets) == ["core2", "f6", "f5", "f4"][:FLEETS]


def test_keys_that_take_long_to_make_are_few(tmp_path: Path) -> None:
    made = mini(loaded(tmp_path, "fleet.core2.devices=5000", 'fleet.core2.key="rsa-3072"'))
    assert made.fleets["core2"].devices <= 30


def test_devices_tend_as_often_as_all_of_the_fleet_would(tmp_path: Path) -> None:
    whole = loaded(tmp_path, "fleet.core2.devices=2000", 'stage.ramp.connect.rate="100/s"')
    few = mini(whole).fleets["core2"]
    assert few.devices * 10 * SECOND == pytest.approx(2000 * few.ack_timeout, rel=0.01)


def test_somebody_elses_broker_and_credentials_are_left_alone(tmp_path: Path) -> None:
    changes = (
        'fleet.core2.store="own.fleet"',
        'fleet.core2.server_name="theirs"',
        'limits.connects="1000/s"',
    )
    made = mini(loaded(tmp_path, *changes, broker="broker.example:8883"), BrokerKind.MOSQUITTO)
    scenario = made.loaded.scenario
    assert (scenario.broker.kind, scenario.broker.endpoints) == (BrokerKind.MOSQUITTO, ())
    assert (made.fleets["core2"].store, made.fleets["core2"].server_name) == (None, None)


def test_telemetry_that_the_miniature_alone_has_is_not_observed(tmp_path: Path) -> None:
    made = mini(loaded(tmp_path, text=SMALL + "[observe]\n" + beside("silent", 10)))
    observe = made.loaded.scenario.observe
    assert observe is not None
    assert observe.fleets == ("core2",)
    assert made.fleets["silent"].telemetry is not None
    assert mini(loaded(tmp_path)).loaded.scenario.observe is None


def test_the_warm_up_is_smaller_still() -> None:
    scenario = warm_up(mini(load("quickstart"))).scenario
    assert [fleet.devices for fleet in scenario.fleets.values()] == [2]
    assert timetable(scenario)[-1].end < SECOND
