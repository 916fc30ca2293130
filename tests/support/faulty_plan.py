"""What the faulty broker is told: when to be slow, what to do wrong, and where. Values, JSON on the wire.

A listener has a list of plans; its connections get them one after the other, over and over. A plan speaks of
*steps*: the things that a client says and the broker answers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from math import log
from random import Random
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field, TypeAdapter

from simulator.clock import MILLISECOND


class Step(StrEnum):
    """What a client has said, or done, and the broker is to answer."""

    ACCEPT = "accept"
    """TCP is connected."""
    HELLO = "hello"
    """A ClientHello; the answer is the server's first flight."""
    FINISHED = "finished"
    """The client's second flight; the answer is Finished (TLS 1.2) or session tickets (TLS 1.3)."""
    CONNECT = "connect"
    SUBSCRIBE = "subscribe"
    PUBLISH = "publish"
    PING = "ping"


class Shape(StrEnum):
    """How delays are drawn."""

    CONSTANT = "constant"
    UNIFORM = "uniform"
    EXPONENTIAL = "exponential"
    LIST = "list"


@dataclass(frozen=True, slots=True)
class Delay:
    """Delays of one step, milliseconds.

    ``ms`` holds the one of ``CONSTANT``, the two bounds of ``UNIFORM``, the mean of ``EXPONENTIAL``, and what
    a ``LIST`` goes round in.
    """

    shape: Shape
    ms: tuple[float, ...]

    def draw(self, seed: str, number: int) -> int:
        """Return the number-th delay of a seed in nanoseconds, the same one each time."""
        chance = Random(f"{seed}/{number}").random()
        match self.shape:
            case Shape.CONSTANT:
                ms = self.ms[0]
            case Shape.UNIFORM:
                ms = self.ms[0] + (self.ms[1] - self.ms[0]) * chance
            case Shape.EXPONENTIAL:
                ms = -self.ms[0] * log(1 - chance)
            case Shape.LIST:
                ms = self.ms[number % len(self.ms)]
        return round(ms * MILLISECOND)


class Then(StrEnum):
    """What becomes of a connection after a fault."""

    STAY = "stay"
    """It goes on as if nothing had been."""
    SILENCE = "silence"
    """It stays open, takes everything and answers nothing any more."""
    CLOSE = "close"
    """``close(2)``: with unread data in the socket, that is a reset."""
    RESET = "reset"
    """RST, by SO_LINGER 0."""
    HALF_CLOSE = "half_close"
    """FIN without close_notify; what comes is still taken, until the client closes too."""
    CLOSE_NOTIFY = "close_notify"
    """TLS's own end, then FIN; what comes is still taken."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What the broker does at the nth occurrence of a step, instead of its answer or after it."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(ser_json_bytes="hex", val_json_bytes="hex")

    at: Step
    then: Then = Then.STAY
    nth: int = 1
    answers: bool = False
    """Whether the step is answered as usual first."""
    wait: float = 0
    """Milliseconds before it happens, beside the delay of the step."""
    raw: bytes = b""
    """Sent as it is, beneath TLS."""
    say: bytes = b""
    """Sent through TLS."""


class Certificates(StrEnum):
    """What the broker does about the client's certificate."""

    REQUIRE = "require"
    REFUSE = "refuse"
    """It trusts an authority that issued none of them."""
    IGNORE = "ignore"
    """It does not ask for one."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How one connection is treated; without anything, as a good broker would."""

    delays: dict[Step, Delay] = field(default_factory=dict)
    fault: Fault | None = None
    certificates: Certificates = Certificates.REQUIRE
    trickle: dict[Step, float] = field(default_factory=dict)
    """Answers to these steps go out byte by byte, so many milliseconds apart."""
    sends_at_most: int | None = None
    """Bytes on TCP after which the connection ends in the way ``cut`` says."""
    takes_at_most: int | None = None
    cut: Then = Then.HALF_CLOSE


class Door(StrEnum):
    """What a client meets at the port itself."""

    OPEN = "open"
    CROWDED = "crowded"
    """The accept queue is full, so each SYN is lost, until ``Uncrowd``."""
    UNANSWERED = "unanswered"
    """The kernel connects, and nobody ever accepts."""
    SHUT = "shut"
    """Nothing listens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identify:
    """The broker's own credential, and the authorities: the one it trusts, and one that issued no client."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(ser_json_bytes="hex", val_json_bytes="hex")

    certificate: bytes
    key: bytes = field(repr=False)
    chain: tuple[bytes, ...]
    trust: bytes
    stranger: bytes
    do: Literal["identify"] = "identify"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """Open a port; the event ``listening`` tells which."""

    name: str
    plans: tuple[Plan, ...] = (Plan(),)
    door: Door = Door.OPEN
    seed: int = 1
    do: Literal["listen"] = "listen"


@dataclass(frozen=True, slots=True, kw_only=True)
class Uncrowd:
    """Let clients into a crowded port at a time of the monotonic clock, nanoseconds."""

    name: str
    at: int
    do: Literal["uncrowd"] = "uncrowd"


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze:
    """Stop the whole process at a time of the monotonic clock, for so many milliseconds."""

    at: int
    ms: int
    do: Literal["freeze"] = "freeze"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shut:
    """Close a listener, and what is left of its connections two seconds later."""

    name: str
    do: Literal["shut"] = "shut"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Ask for the event ``marked``, which comes after all events that have happened until now."""

    do: Literal["mark"] = "mark"


Command = Identify | Listen | Uncrowd | Freeze | Shut | Mark
COMMAND: TypeAdapter[Command] = TypeAdapter(Annotated[Command, Field(discriminator="do")])
"""Reads and writes one line of the broker's stdin."""
