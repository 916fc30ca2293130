"""The ledger: holds what was sent against what was heard, by the numbers that senders give their messages.

Each message is entered when it is sent, and struck out when it is first heard. What is left when all is over
was lost, unless something speaks against that verdict: its sender never got an acknowledgement for it, or
whoever keeps the ledger says that nobody listened, as it does where the observer was away, or a run was
stopped before it had waited long enough. So nothing counts as lost that was not sent, and nothing that may
never have arrived at the broker. That a device was away is no excuse: a command to it counts as lost where
the broker acknowledged it, or where it was sent with QoS 0.

Pure: no clock, no connection; memory grows with what is under way or lost, not with what was heard.
The word that a message was sent comes before the word that it was heard. Numbers begin with 1 and go upwards;
only where all have the same quality of service may one come out of turn.
"""

from __future__ import annotations

from bisect import bisect_right
from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

from simulator.clock import MICROSECOND
from simulator.metrics.delivery import DeliveryCounts, DeliveryKey, DeviceDelivery

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from simulator.metrics.sample import Phase

__all__ = ["Ledger", "Sent"]


class Excuse(Enum):
    """Why a message that was never heard is not known to be lost."""

    UNCONFIRMED = auto()
    UNOBSERVED = auto()


class Sent(NamedTuple):
    """One message that was sent; ``due`` and ``started`` are nanoseconds of the monotonic clock."""

    qos: int
    due: int
    started: int


class Account:
    """The messages of one sender."""

    __slots__ = ("counts", "excuses", "last", "newest", "runs", "total", "under_way", "worst")

    def __init__(self) -> None:
        self.last = 0
        self.under_way: dict[int, Sent] = {}
        """By number: sent and not heard."""
        self.excuses: dict[int, Excuse] = {}
        """By number, of those under way: why it would prove nothing if they were never heard."""
        self.runs: list[tuple[int, int]] = []
        """Number from which on messages had a quality of service; one entry where it never changes."""
        self.newest = [0, 0, 0]
        """Highest number heard, by quality of service: order is promised within one only [MQTT-4.6.0-6]."""
        self.counts = [DeliveryCounts(), DeliveryCounts(), DeliveryCounts()]
        self.total = [0, 0, 0]
        self.worst = [0, 0, 0]

    def qos_of(self, number: int) -> int:
        """Return the quality of service that a message was sent with."""
        return self.runs[bisect_right(self.runs, (number, 2)) - 1][1]


class Ledger:
    """The accounts of all senders of a fleet, or of all messages to it.

    ``interval`` returns the counters of a quality of service, which are added to as things happen; whoever
    owns them reports and empties them regularly.
    """

    def __init__(self, fleet: str, phase: Phase, interval: Callable[[int], DeliveryCounts]) -> None:
        self._fleet = fleet
        self._phase = phase
        self._interval = [interval(qos) for qos in (0, 1, 2)]
        self._accounts: dict[str, Account] = {}
        self.awaited = 0
        """Messages that were sent and not heard, and would be lost if they never were."""
        self.strangers = 0
        """Messages heard that nobody here has sent."""

    def sent(self, sender: str, number: int, message: Sent) -> None:
        """Enter a message."""
        account = self._accounts.get(sender)
        if account is None:
            account = self._accounts[sender] = Account()
        if not account.runs or account.runs[-1][1] != message.qos:
            account.runs.append((number, message.qos))
        account.last = max(account.last, number)
        account.under_way[number] = message
        self.awaited += 1
        for counts in self._counts(account, message.qos):
            counts.sent += 1

    def heard(self, sender: str, number: int, at: int, *, due: int | None = None) -> Sent | None:
        """Strike a message out; return what was entered, or None where this is not its first time.

        A message under way is a stranger's where ``due`` is not the one that was entered. Of one that was
        struck out nothing is kept to compare with: its number counts as duplicated, whatever its ``due``.
        """
        account = self._accounts.get(sender)
        if account is None or not 0 < number <= account.last:
            self.strangers += 1
            return None
        message = account.under_way.get(number)
        if message is None:
            for counts in self._counts(account, account.qos_of(number)):
                counts.duplicated += 1
            return None
        if due is not None and due != message.due:
            self.strangers += 1
            return None
        del account.under_way[number]
        if account.excuses.pop(number, None) is None:
            self.awaited -= 1
        self._delivered(account, number, message, at)
        return message

    def _delivered(self, account: Account, number: int, message: Sent, at: int) -> None:
        qos, took = message.qos, at - message.due
        late = number < account.newest[qos]
        if not late:
            account.newest[qos] = number
        account.total[qos] += took
        account.worst[qos] = max(account.worst[qos], took)
        for counts in self._counts(account, qos):
            counts.delivered += 1
            counts.reordered += late

    def unconfirmed(self, sender: str, started: int) -> None:
        """Take that the message which was sent at that time will not be acknowledged any more.

        If it has not been heard it is no longer waited for; where it is heard later, it counts as delivered.
        """
        account = self._accounts.get(sender)
        if account is not None:
            for number, message in account.under_way.items():
                if message.started == started:
                    self._excuse(account, number, Excuse.UNCONFIRMED)
                    return

    def unobserved(self, since: int, until: int) -> None:
        """Take that nobody listened to what was sent in that time, and has not been heard by now."""
        for account in self._accounts.values():
            for number, message in account.under_way.items():
                if since <= message.started <= until:
                    self._excuse(account, number, Excuse.UNOBSERVED)

    def _excuse(self, account: Account, number: int, excuse: Excuse) -> None:
        if number not in account.excuses:
            self.awaited -= 1
        account.excuses.setdefault(number, excuse)

    def settle(self) -> None:
        """Decide that what has not been heard by now never will be."""
        for account in self._accounts.values():
            for number, message in account.under_way.items():
                excuse = account.excuses.get(number)
                for counts in self._counts(account, message.qos):
                    counts.lost += excuse is None
                    counts.unconfirmed += excuse is Excuse.UNCONFIRMED
                    counts.unobserved += excuse is Excuse.UNOBSERVED
            account.under_way.clear()
            account.excuses.clear()
        self.awaited = 0

    def devices(self) -> Iterator[DeviceDelivery]:
        """Yield what became of each sender's messages, by quality of service."""
        for sender, account in self._accounts.items():
            for qos, counts in enumerate(account.counts):
                if not counts.sent:
                    continue
                mean = account.total[qos] // max(counts.delivered, 1) // MICROSECOND
                key = DeliveryKey(self._fleet, self._phase, qos)
                yield DeviceDelivery(sender, key, counts, mean, account.worst[qos] // MICROSECOND)

    def _counts(self, account: Account, qos: int) -> tuple[DeliveryCounts, DeliveryCounts]:
        """Return the two counters that everything is added to: the sender's own, and the interval's."""
        return account.counts[qos], self._interval[qos]
