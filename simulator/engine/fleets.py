"""The fleets of a run: credentials from a store that the scenario names, or issued for this run alone."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import timedelta
from operator import itemgetter
from random import Random
from typing import TYPE_CHECKING

from simulator.clock import SECOND
from simulator.errors import FleetError
from simulator.identity import passphrase
from simulator.identity.authority import Authority
from simulator.identity.record import Status
from simulator.identity.store import FleetStore
from simulator.scenario.agreement import lists_wanted
from simulator.scenario.kinds import BrokerKind, CertificateKind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

    from simulator.engine.watcher import Watcher
    from simulator.identity.credential import Credential
    from simulator.scenario.loader import LoadedScenario
    from simulator.scenario.model import Fleet

__all__ = ["Fleets"]

CRL_VALIDITY = timedelta(days=30)
"""As long as the certificate of a broker that a run starts, and longer than any run."""


class Fleets:
    """The credential stores of a run, open for as long as it lasts.

    A fleet without a store of its own lives in memory only: its keys are never on the disk.
    """

    def __init__(self, loaded: LoadedScenario, watcher: Watcher) -> None:
        self._loaded = loaded
        self._watcher = watcher
        self._stack = ExitStack()
        self._stores: dict[str, FleetStore] = {}
        self._names: dict[str, set[str]] = {}

    def __enter__(self) -> Fleets:
        """Open the stores; raise FleetError where one cannot be used. Nothing is issued yet.

        The passphrase of a store that is protected is taken from the environment, or asked for, now.
        """
        with ExitStack() as stack:
            for name, path in self._paths():
                store = open_store(name, path, self._loaded.scenario.fleets[name])
                self._stores[name] = stack.enter_context(store)
                store.unlock()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def trust_anchors(self) -> tuple[bytes, ...]:
        """Certificates (DER) that a broker must trust to accept every fleet of the run, each once."""
        return tuple(
            dict.fromkeys(anchor for store in self._stores.values() for anchor in store.trust_anchors)
        )

    @property
    def authority(self) -> Authority | None:
        """The authority of the first fleet that has one."""
        return next((store.authority for store in self._stores.values() if store.authority), None)

    def issue(self) -> None:
        """Issue the certificates that fleets lack, which can take minutes, and revoke those that shall be.

        Raises FleetError where a fleet cannot have what it lacks; nothing is revoked then, which is for good.
        """
        self._check_lists()
        for name, store in self._stores.items():
            fleet = self._loaded.scenario.fleets[name]
            self._fill(store, name, fleet)
            self._refuse_rootless(store, name, fleet)
            self._revoke_from_start(store, name, fleet)

    def members(self) -> dict[str, list[tuple[str, Credential]]]:
        """Return the devices of each fleet in order: name and credential, which is active or revoked."""
        fleets = self._loaded.scenario.fleets
        members = {name: members_of(store, fleets[name]) for name, store in self._stores.items()}
        self._names = {name: {device for device, _ in devices} for name, devices in members.items()}
        return members

    def crls(self) -> tuple[bytes, ...]:
        """Sign the revocation lists that a broker of ours needs; none where the scenario revokes nothing.

        Raises FleetError where there is a fleet that no list can be made for: the broker would refuse it all.
        """
        if not self._check_lists():
            return ()
        return tuple(crl for store in self._stores.values() for crl in store.revocation_lists(CRL_VALIDITY))

    def _check_lists(self) -> bool:
        """Tell whether a broker of ours needs lists; raise FleetError where a fleet cannot have one."""
        scenario = self._loaded.scenario
        wanted = lists_wanted(scenario.fleets, scenario.stages)
        if not wanted or scenario.broker.kind is BrokerKind.EXTERNAL:
            return False
        for name, store in self._stores.items():
            if store.authority is None:
                raise FleetError(
                    f"{store.path} holds no authority, so no list can revoke any of {name}, and a broker that"
                    f" looks at lists, as {wanted[0]} asks for, would refuse all of it: run it without"
                )
        return True

    def revoke(self, name: str, share: float, seed: str) -> tuple[bytes, ...]:
        """Revoke a share of a fleet, drawn among those that are not revoked yet; return all lists, new."""
        store, members = self._stores[name], self._names[name]
        active = [device for device in store.names() if device in members]
        store.revoke_many(drawn(active, round(len(members) * share), seed))
        return self.crls()

    def _refuse_rootless(self, store: FleetStore, name: str, fleet: Fleet) -> None:
        """Raise FleetError where a broker that the run starts would have nothing to trust the devices by."""
        external = self._loaded.scenario.broker.kind is BrokerKind.EXTERNAL
        if fleet.certificates is CertificateKind.ISSUED and not external and not store.trust_anchors:
            raise FleetError(
                f"{store.path} was imported without the root that vouches for {name}, and a broker that the"
                " run starts would refuse all of it: import it again with the root beside it, as ca.pem, or"
                " use --broker host:port for a broker that trusts it"
            )

    def _revoke_from_start(self, store: FleetStore, name: str, fleet: Fleet) -> None:
        wanted = revoked_from_start(fleet)
        already = len(store.names(Status.REVOKED, limit=wanted))
        active = store.names(limit=fleet.devices - already)
        store.revoke_many(drawn(active, wanted - already, f"{self._loaded.scenario.seed}/{name}/revoked"))

    def _paths(self) -> Iterator[tuple[str, Path | None]]:
        """Yield where each fleet is stored; raise FleetError where two would be the same devices."""
        owners: dict[Path, str] = {}
        for name, fleet in self._loaded.scenario.fleets.items():
            if fleet.store is None:
                yield name, None
                continue
            path = self._loaded.resolve(fleet.store)
            owner = owners.setdefault(path.resolve(), name)
            if owner != name:
                raise FleetError(
                    f"{owner} and {name} both take their devices from {path}, and would end each other's "
                    "sessions: give each fleet a store of its own"
                )
            yield name, path

    def _fill(self, store: FleetStore, name: str, fleet: Fleet) -> None:
        """Issue what a fleet lacks; raise FleetError where it has no authority to issue with."""
        revoked = len(store.names(Status.REVOKED, limit=revoked_from_start(fleet)))
        missing = fleet.devices - revoked - len(store.names(limit=fleet.devices - revoked))
        if missing <= 0:
            return
        self_signed = fleet.certificates is CertificateKind.SELF_SIGNED
        if store.authority is None and not self_signed:
            raise FleetError(
                f"{store.path} holds {fleet.devices - missing} active devices, {name} wants {fleet.devices}, "
                "and an imported fleet has no authority to issue more: lower devices, or import more"
            )
        label = f"{name}, to be kept in {store.path}" if store.path is not None else name
        self._watcher.issuing(label, 0, missing)
        store.issue(
            missing,
            key=fleet.key,
            validity=timedelta(microseconds=fleet.validity * 1_000_000 // SECOND),
            prefix=f"{name}-",
            progress=lambda done: self._watcher.issuing(label, done, missing),
            self_signed=self_signed,
        )


def members_of(store: FleetStore, fleet: Fleet) -> list[tuple[str, Credential]]:
    """Return the devices of a fleet by name: as many revoked ones as it wants, and active ones."""
    revoked = store.credentials(revoked_from_start(fleet), Status.REVOKED)
    return sorted([*revoked, *store.credentials(fleet.devices - len(revoked))], key=itemgetter(0))


def revoked_from_start(fleet: Fleet) -> int:
    """Return how many devices of a fleet are revoked when the run begins."""
    return round(fleet.devices * fleet.revoked)


def drawn(names: list[str], number: int, seed: str) -> list[str]:
    """Draw so many, or all there are, by chance and always the same ones for a seed."""
    return Random(seed).sample(names, min(max(number, 0), len(names)))


def open_store(name: str, path: Path | None, fleet: Fleet) -> FleetStore:
    """Open a fleet's store; make one where the file is missing, and in memory where no file is named."""
    if path is not None and path.exists():
        return FleetStore.open(path, passphrase.given)
    issued = fleet.certificates is CertificateKind.ISSUED
    authority = Authority.create(f"Fleet {name}") if issued else None
    if path is None:
        return FleetStore.in_memory(authority)
    return FleetStore.create(path, authority, passphrase=passphrase.in_environment())
