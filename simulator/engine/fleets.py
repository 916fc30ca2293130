"""The fleets of a run: credentials from a store that the scenario names, or issued for this run alone."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import timedelta
from typing import TYPE_CHECKING

from simulator.clock import SECOND
from simulator.errors import FleetError
from simulator.identity.authority import Authority
from simulator.identity.store import FleetStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

    from simulator.engine.watcher import Watcher
    from simulator.identity.credential import Credential
    from simulator.scenario.loader import LoadedScenario
    from simulator.scenario.model import Fleet

__all__ = ["Fleets"]


class Fleets:
    """The credential stores of a run, open for as long as it lasts.

    A fleet without a store of its own lives in memory only: its keys are never on the disk.
    """

    def __init__(self, loaded: LoadedScenario, watcher: Watcher) -> None:
        self._loaded = loaded
        self._watcher = watcher
        self._stack = ExitStack()
        self._stores: dict[str, FleetStore] = {}

    def __enter__(self) -> Fleets:
        """Open the stores; raise FleetError where one cannot be used. Nothing is issued yet."""
        with ExitStack() as stack:
            for name, path in self._paths():
                self._stores[name] = stack.enter_context(open_store(name, path))
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

    def issue(self) -> None:
        """Issue the certificates that fleets lack, which can take minutes; FleetError where one cannot."""
        for name, store in self._stores.items():
            self._fill(store, name, self._loaded.scenario.fleets[name])

    def members(self) -> dict[str, list[tuple[str, Credential]]]:
        """Return the devices of each fleet in order: name and active credential."""
        fleets = self._loaded.scenario.fleets
        return {name: store.credentials(fleets[name].devices) for name, store in self._stores.items()}

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
        missing = fleet.devices - len(store.credentials(fleet.devices))
        if missing <= 0:
            return
        if store.authority is None:
            raise FleetError(
                f"{store.path} holds {fleet.devices - missing} active devices, {name} wants {fleet.devices}, "
                "and an imported fleet has no authority to issue more: lower devices, or import more"
            )
        self._watcher.issuing(name, 0, missing)
        store.issue(
            missing,
            key=fleet.key,
            validity=timedelta(microseconds=fleet.validity * 1_000_000 // SECOND),
            prefix=f"{name}-",
            progress=lambda done: self._watcher.issuing(name, done, missing),
        )


def open_store(fleet: str, path: Path | None) -> FleetStore:
    """Open a fleet's store; make one where the file is missing, and in memory where no file is named."""
    if path is None:
        return FleetStore.in_memory(Authority.create(f"Fleet {fleet}"))
    if path.exists():
        return FleetStore.open(path)
    return FleetStore.create(path, Authority.create(f"Fleet {fleet}"))
