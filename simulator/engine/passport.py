"""Who the run itself is to the broker, as observer and sender of commands: a client id and a credential."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from simulator.cloud.cloud import Cloud
from simulator.cloud.tls import CloudContext
from simulator.errors import FleetError
from simulator.identity.authority import Authority
from simulator.identity.pem_pair import read_pair
from simulator.scenario import listening
from simulator.scenario.kinds import BrokerKind

if TYPE_CHECKING:
    from simulator.engine.scribe import Scribe
    from simulator.identity.credential import Credential
    from simulator.scenario.loader import LoadedScenario
    from simulator.shard import ShardPlan

__all__ = ["Passport", "issue_passport", "open_cloud"]

VALIDITY = timedelta(days=30)
"""As long as the certificate of a broker that a run starts."""


@dataclass(frozen=True, slots=True)
class Passport:
    """What the run's own client shows; ``trust`` is what a broker of ours must trust for its sake."""

    client_id: str
    credential: Credential
    trust: tuple[bytes, ...] = ()


def issue_passport(loaded: LoadedScenario, authority: Authority | None) -> Passport | None:
    """Return a passport, or None where the scenario observes and commands nothing.

    ``authority`` is that of a fleet, if one has any. Raises FleetError where nobody can issue a certificate
    that the broker accepts.
    """
    scenario, cloud = loaded.scenario, loaded.scenario.cloud
    if not listening.filters(scenario.observe, scenario.fleets, scenario.stages):
        return None
    name = cloud.client_id or f"simulator-{secrets.token_hex(4)}"
    if cloud.certificate is not None and cloud.key is not None:
        return Passport(name, read_pair(loaded.resolve(cloud.certificate), loaded.resolve(cloud.key)))
    if authority is not None:
        return Passport(name, authority.issue_device(name, validity=VALIDITY))
    if scenario.broker.kind is BrokerKind.EXTERNAL:
        raise FleetError(
            "no fleet of this scenario has an authority that could issue a certificate for the observer: "
            "give it one that the broker accepts, with certificate and key in [cloud]"
        )
    own = Authority.create("Cloud")
    return Passport(name, own.issue_device(name, validity=VALIDITY), (own.root,))


def open_cloud(plan: ShardPlan, passport: Passport | None, scribe: Scribe) -> Cloud | None:
    """Return the cloud's side of a run, not connected; None without a passport."""
    if passport is None:
        return None
    fleet = next(iter(plan.scenario.fleets.values()))  # the name it expects will do for us
    endpoint = plan.endpoints[0]
    host = fleet.server_name or plan.server_name or endpoint.host
    return Cloud(
        plan.scenario,
        {name: [device for device, _ in members] for name, members in plan.members.items()},
        endpoint=endpoint,
        context=CloudContext.create(
            passport.credential, plan.trust, host, verify_host_name=fleet.verify_host_name
        ),
        client_id=passport.client_id,
        wall_offset=plan.wall_offset,
        emit=scribe.take,
        on_failure=scribe.fail,
    )
