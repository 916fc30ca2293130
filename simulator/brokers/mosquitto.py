"""A mosquitto of our own: a child process with a configuration made for this run.

Works with mosquitto 2.0 and 2.1. Its limits: a client's certificate must have a common name, which becomes
its user name; among the anchors there must be the self-signed root of each chain; anchors are read at the
start only. A revocation list is read again at SIGHUP, after which all session tickets are void, so that
nobody who is revoked comes back with one; a session that is established then lives on.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from simulator.brokers import leash
from simulator.brokers.managed import ManagedBroker
from simulator.brokers.process import Command
from simulator.errors import BrokerError
from simulator.identity import pem
from simulator.scenario.kinds import BrokerKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulator.brokers.process import Child
    from simulator.identity.authority import Authority
    from simulator.identity.credential import Credential
    from simulator.scenario.kinds import Endpoint

__all__ = ["MosquittoBroker", "is_installed"]

_PLACES = os.pathsep.join(("/usr/sbin", "/usr/local/sbin", "/usr/local/bin", "/opt/homebrew/sbin"))

_CONFIGURATION = """\
listener {port} {host}
cafile {folder}/clients.pem
certfile {folder}/server.pem
keyfile {folder}/server.key
require_certificate true
use_identity_as_username true
tls_version tlsv1.2
allow_anonymous true
max_connections -1
max_inflight_messages 1000
max_queued_messages 100000
set_tcp_nodelay true
persistence false
sys_interval 0
log_dest stderr
log_timestamp false
log_type error
log_type warning
log_type information
connection_messages false
"""
_LISTS = "revoked.pem"
_RELOADS = "Reloading config"
_CHECK_LISTS = f"crlfile {{folder}}/{_LISTS}\n"
_STAY_ROOT = "user root\n"
"""Started by root, mosquitto would become a user that cannot read the key, which is for its owner only."""


class MosquittoBroker(ManagedBroker):
    """A mosquitto that this machine has installed; raises BrokerError with the remedy where it has none."""

    kind: ClassVar[BrokerKind] = BrokerKind.MOSQUITTO
    name: ClassVar[str] = "mosquitto"

    def __init__(
        self,
        client_trust: Sequence[bytes],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        authority: Authority | None = None,
    ) -> None:
        self._path = _find()
        self._version = _version(self._path)
        self._folder = Path()
        super().__init__(client_trust, host=host, port=port, authority=authority)

    def _command(self, listen: Endpoint, credential: Credential) -> Command:
        """Write the configuration to a folder that is there as long as mosquitto runs."""
        folder = self._folder = Path(tempfile.mkdtemp(prefix="simulator-mosquitto-"))
        for name, text in self._files(folder, listen, credential).items():
            path = folder / name
            path.touch(mode=0o600)
            path.write_text(text)
        held = (sys.executable, "-I", "-S", leash.__file__, str(folder))
        return Command(
            argv=(*held, self._path, "-c", str(folder / "mosquitto.conf")), ready=" running", folder=folder
        )

    def _files(self, folder: Path, listen: Endpoint, credential: Credential) -> dict[str, str]:
        configuration = _CONFIGURATION.format(port=listen.port, host=listen.host, folder=folder)
        if self._crls:
            configuration += _CHECK_LISTS.format(folder=folder)
        return {
            _LISTS: pem.revocation_lists(self._crls),
            "clients.pem": pem.certificates(self._client_trust),
            "server.pem": credential.chain_pem(),
            "server.key": credential.key_pem(),
            "mosquitto.conf": configuration + (_STAY_ROOT if os.geteuid() == 0 else ""),
        }

    async def _renew_crls(self, child: Child) -> bool:
        """Replace the file and send SIGHUP; mosquitto says that it reloads, and does so before it goes on."""
        path = self._folder / "revoked.new"
        path.touch(mode=0o600)
        path.write_text(pem.revocation_lists(self._crls))
        path.replace(self._folder / _LISTS)
        return await child.reacts(_RELOADS, lambda: child.signal(signal.SIGHUP))

    @property
    def _program(self) -> str:
        return f"mosquitto {self._version}"


def is_installed() -> bool:
    """Tell whether this machine has a mosquitto."""
    return _path() is not None


def _path() -> str | None:
    """Return where mosquitto is; Debian puts it where an ordinary user's PATH does not lead."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path=_PLACES)


def _find() -> str:
    path = _path()
    if path is None:
        raise BrokerError(
            "mosquitto is not installed: install it with `sudo apt-get install mosquitto` or"
            " `brew install mosquitto`, or choose the embedded broker"
        )
    return path


def _version(path: str) -> str:
    """Return the version that mosquitto states in its help text."""
    shown = subprocess.run([path, "-h"], capture_output=True, text=True, check=False, timeout=10).stdout
    found = re.search(r"mosquitto version (\S+)", shown)
    return found[1] if found else "of unknown version"
