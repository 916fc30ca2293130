"""The embedded broker's own process: amqtt behind a TLS listener that demands a client certificate.

The listener is ours: amqtt's own does not require a certificate, and leaves neither the backlog nor the
buffers to be chosen. This module must not know what amqtt does with a connection.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import json
import logging
import os
import sys
from typing import Any

import uvloop

from simulator.brokers.embedded.mended import FleetBroker
from simulator.brokers.embedded.reception import Reception
from simulator.brokers.embedded.tls import ListenerContext
from simulator.brokers.leash import raise_open_files_limit

__all__ = ["main"]

_log = logging.getLogger(__name__)

_BACKLOG = 4096
_HANDSHAKE_SECONDS = 60.0
_SHUTDOWN_SECONDS = 2.0
_GC_THRESHOLD = 20_000
_LONGEST_LINE = 256 * 1024 * 1024
"""Bytes: a list of some million certificates."""


async def _obey(listener: ListenerContext, took: str) -> None:
    """Take new revocation lists, and say so, until nobody holds the other end of standard input any more."""
    reader = asyncio.StreamReader(limit=_LONGEST_LINE)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    try:
        while line := await reader.readline():
            listener.take_crls(json.loads(line)["crls"])
            os.write(1, f"{took}\n".encode())
    finally:
        transport.close()


async def _serve(configuration: dict[str, Any]) -> None:
    """Run the broker until standard input ends."""
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_report)
    broker = FleetBroker()
    await broker.start()
    reception = Reception(broker.serve)
    listener = ListenerContext(
        configuration["trust"], configuration["chain"], configuration["key"], configuration["crls"]
    )
    await loop.create_server(
        reception.connection,
        configuration["host"],
        configuration["port"],
        ssl=listener,
        backlog=_BACKLOG,
        ssl_handshake_timeout=_HANDSHAKE_SECONDS,
        ssl_shutdown_timeout=_SHUTDOWN_SECONDS,
    )
    gc.collect()
    gc.freeze()  # what is loaded now stays: no need to walk it again
    gc.set_threshold(_GC_THRESHOLD)
    os.write(1, f"{configuration['ready']} {configuration['port']}\n".encode())
    await _obey(listener, configuration["took"])
    logging.disable()  # amqtt reports that its tasks are cancelled, which is how they end here


def _report(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Say in one line what went wrong in a task or callback that nobody awaits."""
    _log.error("%s: %r", context["message"], context.get("exception"))


def main() -> int:
    """Read the configuration from standard input, and serve."""
    os.set_blocking(2, False)  # a parent that does not read must not hold up the broker:
    logging.raiseExceptions = False  # what does not fit into the pipe is dropped
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("amqtt").setLevel(logging.ERROR)
    raise_open_files_limit()
    configuration = json.loads(sys.stdin.readline())
    try:
        uvloop.run(_serve(configuration))
    except OSError as error:
        what = "address already in use" if error.errno == errno.EADDRINUSE else error.strerror
        sys.stderr.write(f"{configuration['host']}:{configuration['port']}: {what}\n")
        return 1
    return 0
