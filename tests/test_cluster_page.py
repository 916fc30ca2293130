"""docs/cluster.md shows commands that there are, and manifests that fit the Dask operator and each other."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer
import yaml

from simulator.cli.verbs import command_line

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = (Path(__file__).parent.parent / "docs" / "cluster.md").read_text(encoding="utf-8")
CLUSTER, JOB = (yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL))
SCHEDULER, WORKER = CLUSTER["spec"]["scheduler"], CLUSTER["spec"]["worker"]
PODS = {"scheduler": SCHEDULER["spec"], "worker": WORKER["spec"], "client": JOB["spec"]["template"]["spec"]}


def typed() -> Iterator[list[str]]:
    """Yield what the page has its reader type, as a shell takes it apart."""
    for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            _, prompt, command = line.partition("$ ")
            if prompt and command.startswith("simulator "):
                yield shlex.split(command)


def in_manifests() -> Iterator[list[str]]:
    for pod in PODS.values():
        (container,) = pod["containers"]
        yield container["command"]


@pytest.mark.parametrize("words", [*typed(), *in_manifests()], ids=" ".join)
def test_the_command_line_takes_each_command(words: list[str]) -> None:
    program, *verbs_and_options = words
    assert program == "simulator"
    command: Any = typer.main.get_command(command_line())
    while hasattr(command, "commands"):
        command = command.commands[verbs_and_options.pop(0)]
    assert command.make_context(command.name, verbs_and_options)


def test_there_are_commands_for_every_step() -> None:
    assert len(list(typed())) >= 5
    assert len(list(in_manifests())) == 3


def test_the_cluster_has_the_operators_fields() -> None:
    """These are WorkerSpec and SchedulerSpec in the operator's source, and what it demands of a cluster."""
    assert (CLUSTER["apiVersion"], CLUSTER["kind"]) == ("kubernetes.dask.org/v1", "DaskCluster")
    assert CLUSTER["spec"].keys() == {"worker", "scheduler"}
    assert WORKER.keys() == {"replicas", "spec"}
    assert SCHEDULER.keys() == {"spec", "service"}
    assert isinstance(WORKER["replicas"], int)


def test_everybody_finds_the_scheduler() -> None:
    name = CLUSTER["metadata"]["name"]
    service, (container,) = SCHEDULER["service"], SCHEDULER["spec"]["containers"]
    labels = {"dask.org/cluster-name": name, "dask.org/component": "scheduler"}  # the operator's own
    assert service["selector"] == labels
    (port,), (listening,) = service["ports"], container["ports"]
    assert port["targetPort"] == listening["name"]
    assert f"--listen=$(POD_IP):{listening['containerPort']}" in container["command"]
    address = f"tls://{name}-scheduler:{port['port']}"  # the operator names the service so
    assert address in WORKER["spec"]["containers"][0]["command"]
    assert f"--cluster={address}" in PODS["client"]["containers"][0]["command"]
    assert f"--processes={WORKER['replicas']}" in PODS["client"]["containers"][0]["command"]


@pytest.mark.parametrize("role", PODS)
def test_each_pod_has_the_certificates_of_its_role_and_can_only_read_them(role: str) -> None:
    pod = PODS[role]
    (container,) = pod["containers"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    assert volumes.keys() == mounts.keys()
    assert volumes["certificates"]["secret"] == {"secretName": f"fleet-{role}", "defaultMode": 0o440}
    assert mounts["certificates"]["readOnly"] is True
    assert any(f"certificates={mounts['certificates']['mountPath']}" in word for word in container["command"])
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    assert "for role in client scheduler worker; do kubectl create secret generic fleet-$role" in PAGE
