"""Dask's own settings, as a load generator needs them, and what it logs.

Dask takes its configuration from files in several folders and from the environment. Here it is ours alone, so
that nothing forgotten there turns encryption off, opens a port or takes a share of the processor.
"""

from __future__ import annotations

import logging

import dask
import distributed  # noqa: F401 - its defaults must be there before they are changed

__all__ = ["settle", "speak_in_lines"]

_SETTINGS = {
    "distributed.comm.require-encryption": True,
    "distributed.comm.default-scheme": "tls",
    "distributed.comm.timeouts.connect": "10s",
    "distributed.comm.timeouts.tcp": "20s",
    "distributed.admin.event-loop": "uvloop",
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.tick.limit": "60s",
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.admin.system-monitor.disk": False,
    "distributed.admin.system-monitor.gil.enabled": False,
    "distributed.diagnostics.nvml": False,
    "distributed.scheduler.http.routes": [],
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.active-memory-manager.start": False,
    "distributed.worker.http.routes": [],
    "distributed.worker.multiprocessing-method": "forkserver",
    "distributed.worker.profile.enabled": False,
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
}
"""What differs from Dask's defaults. A worker is a shard: it computes nothing, and holds nothing to move."""


def settle() -> None:
    """Give Dask these settings, in place of whatever it found in files and in the environment.

    It says nothing until it may (see ``speak_in_lines``): what goes wrong at the start is raised as well.
    """
    dask.config.refresh(paths=[], env={})
    dask.config.set(_SETTINGS)
    for log in _loggers():
        log.setLevel(logging.CRITICAL)


def speak_in_lines() -> None:
    """Have what Dask warns of come as one line each on stderr, such as a peer that was refused."""
    for log in _loggers():
        log.handlers.clear()
        log.propagate = True
        log.setLevel(logging.NOTSET)
    logging.getLogger("tornado").setLevel(logging.ERROR)  # below, it repeats what distributed says better
    handler = logging.StreamHandler()
    handler.setFormatter(_Line())
    logging.root.addHandler(handler)


def _loggers() -> list[logging.Logger]:
    """Return those of Dask and of the loop below it that there are: each may have a level of its own."""
    return [
        log
        for name, log in logging.root.manager.loggerDict.items()
        if name.partition(".")[0] in {"distributed", "tornado"} and isinstance(log, logging.Logger)
    ]


class _Line(logging.Formatter):
    """A record in one line: what happened, without the traceback that Dask likes to add."""

    def format(self, record: logging.LogRecord) -> str:
        error = record.exc_info[1] if record.exc_info else None
        said = f"{record.getMessage()}: {error}" if error else record.getMessage()
        return f"{record.levelname.lower()}: {' '.join(said.split())}"
