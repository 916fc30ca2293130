"""A scenario as values: what the whole run is made of, read from plain data and checked in every respect.

This module and those it collects know no files, no sockets and no clock. All mistakes come out together, as
one pydantic ``ValidationError``; ``simulator.scenario.loader`` turns it into sentences with line numbers.
"""

from collections.abc import Callable, Mapping, Sequence
from math import ceil
from typing import Annotated, Self, TypeVar

from pydantic import (
    Field,
    InstanceOf,
    ModelWrapValidatorHandler,
    PlainSerializer,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from simulator.metrics import threshold
from simulator.metrics.threshold import Threshold
from simulator.scenario.agreement import Parts, disagreements
from simulator.scenario.broker import Broker
from simulator.scenario.fields import FleetKey, Text, fleets_named, known_fleets
from simulator.scenario.fleet import (
    Commands,
    FixedPayload,
    Fleet,
    Payload,
    Reconnect,
    Subscription,
    Telemetry,
    TemplatePayload,
    Will,
)
from simulator.scenario.limits import Limits
from simulator.scenario.link import Link
from simulator.scenario.observe import Cloud, Observe
from simulator.scenario.stage import (
    Commanding,
    Connect,
    Disconnection,
    Publishing,
    Reconnection,
    Revoking,
    Stage,
)
from simulator.scenario.table import Mistake, Table, refusal
from simulator.scenario.wording import at_least_one, quote

__all__ = [
    "Broker",
    "Cloud",
    "Commanding",
    "Commands",
    "Connect",
    "Disconnection",
    "FixedPayload",
    "Fleet",
    "Limits",
    "Link",
    "Observe",
    "Payload",
    "Publishing",
    "Reconnect",
    "Reconnection",
    "Revoking",
    "Scenario",
    "Stage",
    "Subscription",
    "Telemetry",
    "TemplatePayload",
    "Threshold",
    "Will",
]


Part = TypeVar("Part", bound=Table)
Filled = TypeVar("Filled", dict[str, Fleet], tuple[Stage, ...])


def _as_written(thresholds: tuple[Threshold, ...]) -> dict[str, str]:
    return {each.measure: each.limit for each in thresholds}


Thresholds = Annotated[
    tuple[InstanceOf[Threshold], ...],
    PlainSerializer(_as_written, when_used="json"),
    WithJsonSchema({"type": "object", "additionalProperties": {"type": "string"}}),
]


class Scenario(Table):
    """One run: a broker, fleets of devices, and what happens to them stage by stage."""

    title: Text = Field(examples=["Five hundred units connect"])
    """One line that says what the scenario shows."""

    seed: Annotated[int, Field(strict=True, ge=0)] = 1
    """Start of everything that is random: the same seed, the same due times and readings anywhere."""

    broker: Broker = Broker()
    """Where the fleets connect to; without it, an embedded broker."""

    link: Link = Link()
    """How devices reach the broker; without it, as the kernel chooses."""

    fleets: dict[FleetKey, Fleet] = Field(alias="fleet")
    """The fleets by name."""

    stages: tuple[Stage, ...] = Field(alias="stage")
    """What happens, one stage after the other."""

    observe: Observe | None = None
    """Whether an observer hears what the fleets publish; without it, nobody does."""

    cloud: Cloud = Cloud()
    """Who the observer, and the sender of commands, are to the broker."""

    thresholds: Thresholds = ()
    """What the run must achieve to count as met: a limit by measure."""

    limits: Limits = Limits()
    """Bounds on the load and on its generator."""

    def largest_share(self, parts: int) -> int:
        """Return how many devices the largest of so many equal parts of each fleet have together."""
        return sum(ceil(fleet.devices / parts) for fleet in self.fleets.values())

    @field_validator("fleets", "stages")
    @classmethod
    def _not_empty(cls, value: Filled, info: ValidationInfo) -> Filled:
        if not value:
            raise ValueError(at_least_one(str(info.field_name).removesuffix("s"), type(value)))
        return value

    @field_validator("thresholds", mode="before")
    @classmethod
    def _read_thresholds(cls, value: object) -> object:
        if not isinstance(value, dict):
            phrase = f'expected a table with lines such as "failures" = "== 0", not {quote(value)}'
            raise refusal([Mistake((), phrase)])
        read: list[Threshold] = []
        mistakes: list[Mistake] = []
        for measure, limit in value.items():
            try:
                read.append(threshold.parse(measure, limit, known_fleets()))
            except ValueError as error:
                mistakes.append(Mistake((measure,), str(error)))
        if mistakes:
            raise refusal(mistakes)
        return tuple(read)

    @model_validator(mode="wrap")
    @classmethod
    def _agrees(cls, data: object, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Read the parts while the names of the fleets are known, then hold them against each other."""
        if isinstance(data, cls):
            return data
        document = data if isinstance(data, dict) else {}
        with fleets_named(_table(document.get("fleet"))):
            try:
                scenario = handler(data)
            except ValidationError as error:
                raise refusal(disagreements(_readable_parts(document)), error) from None
        parts = Parts(scenario.broker, scenario.fleets, scenario.stages, scenario.observe, scenario.cloud)
        if mistakes := list(disagreements(parts)):
            raise refusal(mistakes)
        return scenario


def _readable_parts(document: Mapping[str, object]) -> Parts:
    """Read the parts of a document that cannot be read as a whole, each by itself."""
    fleets = _table(document.get("fleet"))
    stages = document.get("stage")
    return Parts(
        _attempt(Broker.model_validate, document.get("broker", {})),
        {name: _attempt(Fleet.model_validate, fleet) for name, fleet in fleets.items()},
        [_attempt(Stage.model_validate, each) for each in (stages if isinstance(stages, Sequence) else ())],
        _attempt(Observe.model_validate, document["observe"]) if "observe" in document else None,
        _attempt(Cloud.model_validate, document.get("cloud", {})),
    )


def _attempt(read: Callable[[object], Part], data: object) -> Part | None:
    try:
        return read(data)
    except ValidationError:
        return None


def _table(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}
