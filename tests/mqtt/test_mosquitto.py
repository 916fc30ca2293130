"""The session against a real broker, over a plain socket: mosquitto has not read our server."""

from __future__ import annotations

import socket
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from simulator.mqtt.events import Acknowledged, Connected, Event, Message, Pong, Subscribed
from simulator.mqtt.packets import Subscription
from simulator.mqtt.session import Session
from tests.mqtt.server import V5, both, kept
from tests.support.tools import require

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from simulator.scenario.kinds import MqttVersion


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    program = require("mosquitto")
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        number: int = probe.getsockname()[1]
    configuration: Path = tmp_path_factory.mktemp("mosquitto") / "mosquitto.conf"
    configuration.write_text(f"listener {number} 127.0.0.1\nallow_anonymous true\nlog_dest stderr\n")
    with subprocess.Popen([program, "-c", str(configuration)], stderr=subprocess.PIPE, text=True) as broker:
        assert broker.stderr is not None
        for line in broker.stderr:
            if "running" in line:
                break
        yield number
        broker.terminate()


class Line:
    """A session on a blocking socket."""

    def __init__(self, session: Session, port: int) -> None:
        self.session = session
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        session.connect()

    def until(self, *kinds: type) -> list[Event]:
        """Exchange bytes until each of ``kinds`` has come, and return all events."""
        events: list[Event] = []
        while not set(kinds) <= {type(event) for event in events}:
            self._socket.sendall(self.session.data_to_send())
            data = self._socket.recv(65536)
            assert data, f"the broker closed the link after {events}"
            events += self.session.receive_data(data)
        self._socket.sendall(self.session.data_to_send())
        return events

    def lose(self) -> list[Event]:
        self._socket.close()
        return self.session.connection_lost()


@both
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_message_comes_back(port: int, version: MqttVersion, qos: int) -> None:
    line = Line(Session(kept(version), f"echo-{version}-{qos}"), port)
    line.until(Connected)
    line.session.subscribe([Subscription(f"echo/{version}", qos)], "subscribed")
    assert line.until(Subscribed) == [Subscribed("subscribed", (qos,))]
    line.session.publish(f"echo/{version}", b"hello", qos, token="published")
    events = line.until(Message, *([Acknowledged] if qos else []))
    assert Message(f"echo/{version}", b"hello", qos, False, False, ()) in events
    assert events.count(Acknowledged("published", 0)) == (1 if qos else 0)
    line.session.ping()
    line.until(Pong)
    line.session.disconnect()
    line.lose()


@both
@pytest.mark.parametrize("qos", [1, 2])
def test_a_message_survives_a_broken_link(port: int, version: MqttVersion, qos: int) -> None:
    session = Session(kept(version), f"survivor-{version}-{qos}")
    line = Line(session, port)
    line.until(Connected)
    session.publish("survivor", b"x", qos, token="published")
    assert line.lose() == [], "nothing was sent, and nothing is lost"
    line = Line(session, port)
    events = line.until(Connected, Acknowledged)
    assert isinstance(events[0], Connected)
    assert events[0].session_present
    heard = 0x10 if version is V5 and qos == 1 else 0  # nobody has subscribed
    assert events[-1] == Acknowledged("published", heard)
    line.lose()
