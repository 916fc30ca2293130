"""A stage of a run, what happens to the fleets and for how long: the ``[[stage]]`` tables. Values only."""

from collections.abc import Iterator

from pydantic import Field

from simulator.scenario.fields import (
    ActionShare,
    Count,
    Flag,
    FleetName,
    Interval,
    Qos,
    Rate,
    StartRate,
    Text,
)
from simulator.scenario.kinds import ArrivalKind
from simulator.scenario.table import Mistake, Table
from simulator.scenario.units import format_duration
from simulator.scenario.wording import quote

__all__ = ["Commanding", "Connect", "Disconnection", "Publishing", "Reconnection", "Revoking", "Stage"]


class _Arriving(Table):
    """Devices or messages that become due one after the other."""

    fleet: FleetName = Field(examples=["core2"])
    """The fleet that this happens to."""

    arrivals: ArrivalKind = ArrivalKind.CONSTANT
    """How due times are laid out.

    ``constant``: evenly; ``poisson``: at random, ``rate`` on average; ``ramp``: evenly faster, from ``from``
    to ``rate``; ``burst``: ``size`` at once, ``rate`` on average.
    """

    from_rate: StartRate = Field(0.0, alias="from", examples=["10/s"])
    """Rate that a ramp starts at."""

    size: Count | None = Field(None, examples=[50])
    """How many are due at once in a burst."""

    def mistakes(self) -> Iterator[Mistake]:
        """Yield settings that the arrival process lacks or does not have."""
        if self.arrivals is ArrivalKind.BURST and self.size is None:
            yield Mistake(("size",), 'arrivals = "burst" needs size, how many are due at once')
        if self.arrivals is not ArrivalKind.BURST and self.size is not None:
            yield Mistake(("size",), f'belongs to arrivals = "burst", and these are {quote(self.arrivals)}')
        if self.arrivals is not ArrivalKind.RAMP and "from_rate" in self.model_fields_set:
            yield Mistake(("from",), f'belongs to arrivals = "ramp", and these are {quote(self.arrivals)}')


class Connect(_Arriving):
    """Devices that were not connected before connect."""

    share: ActionShare = 1.0
    """Share of the whole fleet that connects."""

    rate: Rate = Field(examples=["100/s"])
    """Devices that become due, by the second, minute or hour."""


class Publishing(_Arriving):
    """The connected devices of a fleet publish messages beyond their own, on the fleet's telemetry topic."""

    rate: Rate = Field(examples=["100/s"])
    """Messages that become due in the whole fleet, by the second, minute or hour."""

    qos: Qos | None = None
    """Quality of service; without it, the telemetry's."""


class Commanding(_Arriving):
    """The cloud sends commands to devices that are meant to be connected, to one after the other."""

    share: ActionShare = 1.0
    """Share of the whole fleet that gets commands."""

    rate: Rate = Field(examples=["50/s"])
    """Commands that become due in the whole fleet, by the second, minute or hour."""


class Reconnection(_Arriving):
    """Connected devices drop their connection and connect again."""

    share: ActionShare = 1.0
    """Share of the whole fleet that reconnects."""

    within: Interval | None = Field(None, examples=["2s"])
    """Time over which all of them become due; instead of ``rate``."""

    rate: Rate | None = Field(None, examples=["100/s"])
    """Devices that become due, by the second, minute or hour; instead of ``within``."""

    abrupt: Flag = False
    """Whether a device drops its connection without DISCONNECT, as if its power failed.

    What it had under way is then counted as ``cut_off``, which is no failure: a kept session
    (``clean_start = false``) sends it again.
    """

    def mistakes(self) -> Iterator[Mistake]:
        """Yield a length that is given twice, not at all, or against the arrival process."""
        yield from super().mistakes()
        yield from _one_length(self)
        if self.within is not None and self.arrivals in {ArrivalKind.RAMP, ArrivalKind.BURST}:
            yield Mistake(("arrivals",), f"{quote(self.arrivals)} needs rate instead of within")


class Disconnection(Table):
    """Connected devices say goodbye, evenly one after the other, and stay away."""

    fleet: FleetName = Field(examples=["core2"])
    """The fleet that this happens to."""

    share: ActionShare = 1.0
    """Share of the whole fleet that disconnects."""

    within: Interval | None = Field(None, examples=["2s"])
    """Time over which all of them become due; instead of ``rate``."""

    rate: Rate | None = Field(None, examples=["100/s"])
    """Devices that become due, by the second, minute or hour; instead of ``within``."""

    def mistakes(self) -> Iterator[Mistake]:
        """Yield a length that is given twice or not at all."""
        return _one_length(self)


class Revoking(Table):
    """Certificates are revoked, and the broker gets the new list, as the stage starts.

    Established connections live on; what is refused is the next connection of each of these devices. To sign
    the list and to have the broker take it needs a moment: whoever must be refused connects in a later stage.
    """

    fleet: FleetName = Field(examples=["core2"])
    """The fleet that this happens to."""

    share: ActionShare = Field(examples=[0.1])
    """Share of the whole fleet that is revoked, drawn among the devices that are not revoked yet."""


def _one_length(action: Reconnection | Disconnection) -> Iterator[Mistake]:
    if action.within is None and action.rate is None:
        yield Mistake((), 'needs within = "2s", or rate = "100/s"')
    if action.within is not None and action.rate is not None:
        yield Mistake(("rate",), "cannot stand beside within; keep one of the two")


class Stage(Table):
    """One part of a run; it ends when its duration is over and all that became due in it has begun."""

    name: Text = Field(examples=["steady"])
    """What the report calls this stage."""

    duration: Interval | None = Field(None, examples=["15s"])
    """How long the stage lasts at least; needed where nothing connects, reconnects or disconnects in it."""

    connect: Connect | None = None
    """Devices that connect."""

    reconnect: Reconnection | None = None
    """Connected devices that drop their connection and connect again."""

    disconnect: Disconnection | None = None
    """Connected devices that leave."""

    publish: Publishing | None = None
    """Messages beyond the fleet's own."""

    command: Commanding | None = None
    """Commands from the cloud to devices."""

    revoke: Revoking | None = None
    """Certificates that are revoked, at the start of the stage."""

    outage: Interval | None = Field(None, examples=["5s"])
    """Time for which a broker that the run manages is gone, from the start of the stage."""

    def mistakes(self) -> Iterator[Mistake]:
        """Yield a duration that is missing or too short."""
        ends_by_itself = self.connect or self.reconnect or self.disconnect
        if self.duration is None:
            lasting = {
                "publish": self.publish,
                "command": self.command,
                "revoke": self.revoke,
                "outage": self.outage,
            }
            if key := next((name for name, action in lasting.items() if action), None):
                yield Mistake((), f'a stage with {key} needs a duration, for instance duration = "15s"')
            elif not ends_by_itself:
                yield Mistake((), 'needs a duration, for instance duration = "15s", or something to do')
        elif self.outage is not None and self.duration < self.outage:
            shortest = format_duration(self.outage)
            yield Mistake(("duration",), f"expected {quote(shortest)} or more, the length of the outage")
