"""Every error that this package raises on purpose.

An error is for control: somebody can catch it and do something. What happens to a device during a run is not
an error but an *outcome*, and is counted (see ``simulator.metrics``).

    SimulatorError
    ├── UsageError                 the user can mend it: a wrong option, file, folder or value
    │   ├── ScenarioError          all the mistakes of one scenario file
    │   ├── FleetError             a fleet file or a folder of certificates that cannot be used
    │   └── RunFolderError         a run folder that cannot be written, read or reported
    ├── BrokerError                a broker that we manage could not be started, or ended by itself
    ├── WorkerError                a worker of a cluster, or its scheduler, is not there or was lost
    ├── BrokerUnreachableError     nothing accepts connections where the broker should be
    ├── ProtocolError              the peer sent something that MQTT forbids
    └── mqtt.blocked.CannotSendError    an MQTT session cannot send now; its subclasses say why

``link.failure.LinkError`` stands apart: a link that fails is a measurement, and never leaves its device.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "BrokerError",
    "BrokerUnreachableError",
    "FleetError",
    "ProtocolError",
    "RunFolderError",
    "ScenarioError",
    "SimulatorError",
    "UsageError",
    "WorkerError",
]


class SimulatorError(Exception):
    """Base of all errors of this package; ``str(error)`` is a sentence written for the user."""

    exit_code: ClassVar[int] = 2


class UsageError(SimulatorError):
    """The command line, a file or a value is wrong, and the message says how to mend it."""


class ScenarioError(UsageError):
    """One scenario file is wrong; ``problems`` holds one sentence for each mistake in it."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class FleetError(UsageError):
    """A fleet file, or a folder of PEM files, cannot be used as it is."""


class RunFolderError(UsageError):
    """A run folder cannot be created, written, read or understood."""


class BrokerError(SimulatorError):
    """A broker that this package manages could not be started, or ended by itself."""


class WorkerError(SimulatorError):
    """A cluster's scheduler or one of its workers cannot be reached, is not fit for the run, or was lost."""


class BrokerUnreachableError(SimulatorError):
    """No endpoint of the broker accepted a single connection."""

    exit_code: ClassVar[int] = 4


class ProtocolError(SimulatorError):
    """The peer sent bytes or a packet that MQTT forbids.

    ``clause`` names the normative statement that was broken, for instance ``MQTT-3.1.4-1``, where there is
    one.
    """

    def __init__(self, message: str, *, clause: str | None = None) -> None:
        super().__init__(f"{message} [{clause}]" if clause else message)
        self.clause = clause
