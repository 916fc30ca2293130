"""The sender of one fleet's commands: sends them when they are due, and waits for the devices' answers."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import aiomqtt

from simulator.clock import now
from simulator.devices import command
from simulator.metrics.ledger import Ledger, Sent
from simulator.metrics.outcome import Outcome
from simulator.metrics.sample import Phase
from simulator.metrics.snapshot import ArrivalOf
from simulator.scenario.template import fill

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from simulator.cloud.client import CloudClient
    from simulator.metrics.recorder import Recorder
    from simulator.scenario.model import Commands

__all__ = ["Commander"]

MOST_UNDER_WAY = 1_000
"""Commands that the broker may leave unacknowledged; more that become due are dropped and counted."""


class Commander:
    """Commands one fleet. ``spawn`` starts the task that waits for an acknowledgement."""

    def __init__(
        self,
        fleet: str,
        commands: Commands,
        recorder: Recorder,
        client: CloudClient,
        spawn: Callable[[Coroutine[object, object, None]], object],
    ) -> None:
        self._fleet = fleet
        self._settings = commands
        self._recorder = recorder
        self._client = client
        self._spawn = spawn
        self._numbers: Counter[str] = Counter()
        self._asked: dict[tuple[str, int], int] = {}
        """When each command was sent whose answer is under way."""
        self._unacknowledged: dict[tuple[str, int], tuple[int, int]] = {}
        """When each command was due and sent that the broker has not acknowledged."""
        self._arrivals = recorder.arrivals(fleet, ArrivalOf.COMMAND)
        self._command_ok = recorder.series(fleet, Phase.COMMAND).ok.append
        self._answer_ok = recorder.series(fleet, Phase.COMMAND_ANSWER).ok.append
        self.commands = self._ledger(Phase.COMMAND)
        self.answers = self._ledger(Phase.COMMAND_ANSWER)

    def _ledger(self, phase: Phase) -> Ledger:
        return Ledger(self._fleet, phase, lambda qos: self._recorder.deliveries(self._fleet, phase, qos))

    def send(self, device: str, due: int) -> None:
        """Send the next command to a device."""
        self._arrivals.due += 1
        if self._client.broken_at is not None:
            self._arrivals.offline += 1
        elif len(self._unacknowledged) >= MOST_UNDER_WAY:
            self._arrivals.dropped += 1
        else:
            self._arrivals.started += 1
            self._numbers[device] += 1
            self._spawn(self._publish(device, self._numbers[device], due))

    async def _publish(self, device: str, number: int, due: int) -> None:
        topic = fill(self._settings.topic, {"device": device, "fleet": self._fleet})
        started = now()
        self.commands.sent(device, number, Sent(self._settings.qos, due, started))
        self._unacknowledged[device, number] = due, started
        try:
            await self._client.publish(topic, command.command(number), self._settings.qos)
        except aiomqtt.MqttError as error:
            lost = self._client.broken_at is not None
            outcome = Outcome.CONNECTION_LOST if lost else Outcome.ACK_TIMEOUT
            self._fail(device, number, outcome, str(error))
        else:
            self._unacknowledged.pop((device, number), None)  # it may have been given up just before

    def give_up(self) -> None:
        """Wait no longer for acknowledgements: the run ends."""
        for device, number in tuple(self._unacknowledged):
            self._fail(device, number, Outcome.UNFINISHED, "the run ended before its acknowledgement")

    def _fail(self, device: str, number: int, outcome: Outcome, detail: str) -> None:
        unacknowledged = self._unacknowledged.pop((device, number), None)
        if unacknowledged is None:  # it was given up, and has failed already
            return
        due, started = unacknowledged
        self.commands.unconfirmed(device, started)
        times = {"due": due, "started": started, "finished": now()}
        self._recorder.fail(self._fleet, device, Phase.COMMAND, outcome, detail, **times)

    def told(self, device: str, number: int, at: int, answered: int | None) -> None:
        """Take that a device got a command, and when it began to answer; None where it could not."""
        message = self.commands.heard(device, number, at)
        if message is None:
            return
        self._command_ok((message.due, message.started, at))
        if answered is not None:
            self._asked[device, number] = message.started
            self.answers.sent(device, number, Sent(self._settings.qos, message.due, answered))

    def answered(self, payload: bytes, at: int) -> bool:
        """Take a message from the broker; tell whether it is an answer."""
        found = command.answered(payload)
        if found is None:
            return False
        message = self.answers.heard(*found, at)
        if message is not None:
            self._answer_ok((message.due, self._asked.pop(found), at))
        return True
