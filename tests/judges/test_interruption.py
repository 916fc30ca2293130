"""A run that is ended early, as an independent client at the broker hears it: who vanishes leaves a will."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from simulator.brokers.mosquitto import MosquittoBroker
from simulator.engine.coordinator import Coordinator
from simulator.identity.authority import Authority
from simulator.report.conclusion import Conclusion
from tests.brokers.wire import Papers
from tests.engine.watching import Witness
from tests.judges.story import Spoken, prepared
from tests.support.brokers import running
from tests.support.changes import SECONDS
from tests.support.observer import observing
from tests.support.tools import require

if TYPE_CHECKING:
    from pathlib import Path
    from ssl import SSLContext

    from simulator.brokers.managed import ManagedBroker

SPOKEN = [Spoken("3.1.1", "1.2"), Spoken("5.0", "1.3")]


def test_every_device_says_goodbye_within_seconds(tmp_path: Path) -> None:
    require("mosquitto")
    authority = Authority.create("Fleet")
    with running(lambda: MosquittoBroker([authority.root])) as broker:
        loaded = prepared(broker, authority, SPOKEN, tmp_path)
        context = Papers.issue(authority, "observer", tmp_path).context(broker)
        witness = Witness()
        coordinator = Coordinator(loaded, tmp_path / "run", witness)
        witness.on["connected"] = coordinator.stop
        wills = asyncio.run(stopped(coordinator, broker, context))
    assert witness.connected == 0
    assert "stopping" in witness.steps
    assert wills == []


async def stopped(coordinator: Coordinator, broker: ManagedBroker, context: SSLContext) -> list[str]:
    """Run until it is stopped, and return who was taken for gone."""
    async with observing(broker, context, "gone/#", "end") as observer:
        with coordinator:
            async with asyncio.timeout(SECONDS):
                report = await coordinator.run()
        assert report.conclusion is Conclusion.INTERRUPTED
        await observer.says("end", "")
        await observer.hears(lambda heard: any(str(each.topic) == "end" for each in heard))
    return [str(each.topic) for each in observer.heard[:-1]]
