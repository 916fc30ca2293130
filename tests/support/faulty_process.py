"""The faulty broker as a test holds it: a child process that takes commands and tells what it did."""

from __future__ import annotations

import subprocess
import sys
from itertools import count
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple, Self

from simulator.scenario.kinds import Endpoint
from tests.support.faulty_journal import NOTE, Note
from tests.support.faulty_plan import COMMAND, Door, Identify, Listen, Mark, Plan, Shut

if TYPE_CHECKING:
    from types import TracebackType

    from simulator.identity.credential import Credential
    from tests.support.faulty_plan import Command

ROOT = Path(__file__).parents[2]


class Port(NamedTuple):
    """One port of the faulty broker."""

    name: str
    endpoint: Endpoint


class FaultyBroker:
    """One process with any number of ports, each by a name of its own."""

    def __init__(self, server: Credential, *, trust: bytes, stranger: bytes) -> None:
        self._identity = Identify(
            certificate=server.certificate,
            key=server.key,
            chain=server.chain,
            trust=trust,
            stranger=stranger,
        )
        self._names = count()
        self._open: list[str] = []
        self._told: list[Note] = []

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "tests.support.faulty_broker"]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True)
        self.tell(self._identity)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stdin.close()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process.wait()

    @property
    def _stdin(self) -> IO[str]:
        assert self.process.stdin is not None
        return self.process.stdin

    def tell(self, command: Command) -> None:
        """Send one command."""
        self._stdin.write(COMMAND.dump_json(command).decode() + "\n")
        self._stdin.flush()

    def listen(self, *plans: Plan, door: Door = Door.OPEN, seed: int = 1) -> Port:
        """Open a port whose connections get these plans in turn; without any, it is a good broker."""
        name = f"port-{next(self._names)}"
        self.tell(Listen(name=name, plans=plans or (Plan(),), door=door, seed=seed))
        self._open.append(name)
        return Port(name, Endpoint("127.0.0.1", self._until("listening").port))

    def record(self) -> list[Note]:
        """Return everything that has happened since this was last asked, and shut all ports."""
        for name in self._open:
            self.tell(Shut(name=name))
        self._open.clear()
        self.tell(Mark())
        self._until("marked")
        told, self._told = self._told, []
        return told

    def _until(self, event: str) -> Note:
        """Read up to the next such event, and return it."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            note = NOTE.validate_json(line)
            self._told.append(note)
            if note.event == event:
                return note
        raise AssertionError(f"the faulty broker ended with {self.process.wait()}")
