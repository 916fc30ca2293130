"""What a device records of each step it takes: phases, kinds of time, samples and failures.

Values only: this module knows no clock, no file and no histogram.
"""

from __future__ import annotations

import json
from enum import StrEnum
from typing import NamedTuple

__all__ = ["CONNECT_STEPS", "HEARD", "LAG_PHASES", "Failure", "Kind", "Phase", "Sample"]


class Phase(StrEnum):
    """A step of a device's life that is timed apart.

    ``CONNECT`` is a whole attempt, TCP to CONNACK; those before it are its steps. ``TLS_HANDSHAKE`` is a full
    handshake, and any that failed; ``TLS_RESUMPTION`` one that resumed a TLS session. ``SESSION`` is the life
    of a session once it is established: it has no duration worth a histogram, but it can fail.

    ``DELIVER``, ``COMMAND`` and ``COMMAND_ANSWER`` go from one end to the other, through the broker: of a
    message of a device to the observer, of a command to its device, and of a command to the device's answer.
    """

    TCP_CONNECT = "tcp_connect"
    TLS_HANDSHAKE = "tls_handshake"
    TLS_RESUMPTION = "tls_resumption"
    MQTT_CONNECT = "mqtt_connect"
    CONNECT = "connect"
    SUBSCRIBE = "subscribe"
    PUBLISH = "publish"
    DELIVER = "deliver"
    COMMAND = "command"
    COMMAND_ANSWER = "command_answer"
    SESSION = "session"


CONNECT_STEPS = frozenset({Phase.TCP_CONNECT, Phase.TLS_HANDSHAKE, Phase.TLS_RESUMPTION, Phase.MQTT_CONNECT})
"""Steps of ``CONNECT``: where one fails, the attempt fails, and counts as one failure."""

HEARD = frozenset({Phase.DELIVER, Phase.COMMAND_ANSWER})
"""What is heard of messages whose ``PUBLISH`` or ``COMMAND`` counts as a step already: no step by itself."""

LAG_PHASES = frozenset({Phase.TCP_CONNECT, Phase.PUBLISH, Phase.COMMAND})
"""The first steps after an arrival: only between due and started of these is the generator alone at work."""


class Kind(StrEnum):
    """What a duration is measured from, and to."""

    RESPONSE = "response"
    """Finished less due: what the fleet would feel, free of coordinated omission."""
    SERVICE = "service"
    """Finished less started: what the broker and the network took."""
    LAG = "lag"
    """Started less due: how late the generator was."""


Sample = tuple[int, int, int]
"""Due, started, finished of one step that succeeded, in nanoseconds of this process's monotonic clock."""


class Failure(NamedTuple):
    """One step that failed. All times are nanoseconds since the start of the run."""

    at: int
    fleet: str
    device: str
    stage: str
    phase: Phase
    outcome: str
    detail: str
    """One sentence for people; never key material."""
    due: int
    started: int
    finished: int

    def to_json(self) -> str:
        """Return the failure as one line of JSON, without the line's end."""
        return json.dumps(self._asdict(), ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str) -> Failure:
        """Return the failure that ``to_json`` wrote; ``ValueError`` where the line is something else."""
        try:
            failure = cls(**json.loads(line))
            return failure._replace(phase=Phase(failure.phase))
        except TypeError as error:
            raise ValueError(f"not a failure: {error}") from None
