"""What devices say: payload models, each a pure function of device, counter and due time.

Every payload carries the three, so that whoever reads them can prove loss, repetition and delay:
``device``, ``n`` (1, 2, 3 …, counted per device) and ``due`` (when the message was due, nanoseconds since
1970 UTC).
"""

from __future__ import annotations

import re
from math import sin, tau
from typing import TYPE_CHECKING, Protocol

from simulator.devices import noise
from simulator.scenario.model import FixedPayload, TemplatePayload

if TYPE_CHECKING:
    from simulator.scenario.model import Telemetry

__all__ = ["Payload", "core2", "fixed", "payload_of", "template"]


class Payload(Protocol):
    """Makes the payload of one message."""

    def __call__(self, device: str, seed: int, counter: int, due: int, /) -> bytes:
        """Return the payload; ``seed`` is the device's own, ``due`` is in ns since 1970 UTC."""


def payload_of(telemetry: Telemetry, fleet: str) -> Payload:
    """Return the model that a scenario asks for."""
    match telemetry.payload:
        case FixedPayload(size=size):
            return fixed(size)
        case TemplatePayload(template=text):
            return template(text, fleet)
        case _:
            return core2


def core2(device: str, seed: int, counter: int, due: int) -> bytes:
    """Return what a resting M5Stack Core2 would report: plausible, and the same for the same seed.

    Gravity on z with the noise of an MPU6886; a temperature that drifts by a few degrees an hour at one
    message a second; a quiet room with a loud moment now and then; a battery that loses a percent every ten
    minutes.
    """
    character = noise.bits(seed, 0)
    draw = noise.bits(seed, counter)
    x, y, z = ((draw >> shift & 0x3FF) / 20_480 - 0.025 for shift in (0, 10, 20))
    temperature = 28 + (character & 7) + 2 * sin(tau * (counter / 3600 + (character >> 8 & 0xFF) / 256))
    loud = 30 if draw >> 40 & 0x3F == 0 else 0
    sound = 34 + (draw >> 30 & 0x7) + loud
    battery = max(5, 100 - (character >> 16 & 0x1F) - counter // 600)
    return (
        f'{{"device":"{device}","n":{counter},"due":{due},'
        f'"accelerometer":{{"x":{x:.3f},"y":{y:.3f},"z":{1 + z:.3f}}},'
        f'"temperature":{temperature:.1f},"sound":{sound},'
        f'"battery":{{"percent":{battery},"voltage":{3.3 + 0.009 * battery:.2f}}}}}'
    ).encode()


def fixed(size: int) -> Payload:
    """Return a model whose payloads are exactly ``size`` bytes long, filled up with dots.

    A size too small for the three fields gets the fields alone.
    """
    tails: dict[int, bytes] = {}
    """What follows a head, by its length: there are few lengths, and a message is due in microseconds."""

    def payload(device: str, _: int, counter: int, due: int) -> bytes:
        head = f'{{"device":"{device}","n":{counter},"due":{due},"fill":"'.encode()
        tail = tails.get(len(head))
        if tail is None:
            tail = tails[len(head)] = b"." * max(0, size - len(head) - 2) + b'"}'
        return head + tail

    return payload


PLACEHOLDER = re.compile(r"\{(device|fleet|counter|due)\}")


def template(text: str, fleet: str) -> Payload:
    """Return a model that fills ``{device}``, ``{fleet}``, ``{counter}`` and ``{due}`` into a text."""
    pieces = PLACEHOLDER.split(text)

    def payload(device: str, _: int, counter: int, due: int) -> bytes:
        values = {"device": device, "fleet": fleet, "counter": str(counter), "due": str(due)}
        filled = [values[piece] if place % 2 else piece for place, piece in enumerate(pieces)]
        return "".join(filled).encode()

    return payload
