"""One child process: started, ready, ended, and what it wrote last.

The child is told to end by the end of its standard input. Nothing else works in every case: a parent that was
killed sends no signal, but the kernel closes its pipes. This module must not know what the child does.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, cast

import psutil

from simulator.brokers.broker import BrokerUsage
from simulator.errors import BrokerError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

__all__ = ["Child", "Command"]

_log = logging.getLogger(__name__)

_LINES_KEPT = 50
_STOP_SECONDS = 5.0
_DRAIN_SECONDS = 1.0
_REACTION_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Command:
    """How to start a child: its arguments, its first input, and words of the line that says it is ready.

    ``folder`` holds the child's files; it is removed when the child has ended.
    """

    argv: Sequence[str]
    ready: str
    stdin: bytes = b""
    folder: Path | None = None

    def clear(self) -> None:
        """Remove the child's files."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __repr__(self) -> str:
        return f"Command({self.argv[0]!r}, ...)"


class Child(asyncio.SubprocessProtocol):
    """A running child process; make one with ``Child.start``.

    Its output is read by callbacks as it comes, so that a full pipe does not hold up the child, and logged;
    the last lines are kept for error messages.
    """

    def __init__(self, command: Command) -> None:
        self._command = command
        self._ready: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._awaited: dict[str, asyncio.Future[bool]] = {}
        self._exited = asyncio.Event()
        self._drained = asyncio.Event()
        self._partial: dict[int, bytes] = {}
        self._lines: deque[str] = deque(maxlen=_LINES_KEPT)
        self._transport: asyncio.SubprocessTransport | None = None
        self.stopping = False

    @classmethod
    async def start(cls, command: Command) -> Self:
        """Start ``command`` in a session of its own, out of reach of the terminal's Ctrl-C.

        A cancellation takes effect when the child runs, and ends it. asyncio would kill a child that is still
        being started, but not what that child has started, and then wait for its output to end.
        """
        loop = asyncio.get_running_loop()
        execution = loop.subprocess_exec(lambda: cls(command), *command.argv, start_new_session=True)
        starting = loop.create_task(execution, name="start of a child process")
        cancelled: asyncio.CancelledError | None = None
        while not starting.done():
            try:
                await asyncio.wait([starting])
            except asyncio.CancelledError as error:
                cancelled = error
        try:
            _, child = starting.result()
        except BaseException as error:
            command.clear()
            if cancelled is not None:
                raise cancelled from error
            raise
        child.write(command.stdin)
        if cancelled is not None:
            await child.stop()
            raise cancelled
        return child

    def write(self, data: bytes) -> None:
        """Send the child more input."""
        cast("asyncio.WriteTransport", self._running_transport().get_pipe_transport(0)).write(data)

    def signal(self, number: signal.Signals) -> None:
        """Send the child a signal; raises ProcessLookupError where it has ended."""
        self._running_transport().send_signal(number)

    async def reacts(self, words: str, act: Callable[[], object]) -> bool:
        """Do something to the child; return whether it then says a line with ``words`` within ten seconds."""
        said: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._awaited[words] = said
        try:
            if self._exited.is_set():
                return False
            act()
            async with asyncio.timeout(_REACTION_SECONDS):
                return await said
        except (TimeoutError, ProcessLookupError):
            return False
        finally:
            self._awaited.pop(words, None)

    @property
    def tail(self) -> tuple[str, ...]:
        """The last lines that the child wrote, oldest first."""
        return tuple(self._lines)

    @property
    def returncode(self) -> int | None:
        """Exit status; negative is the number of the signal that ended the child, None while it runs."""
        return None if self._transport is None else self._transport.get_returncode()

    async def wait_ready(self, seconds: float) -> bool:
        """Return True when the child says that it is ready, False when it ended or took too long instead."""
        try:
            async with asyncio.timeout(seconds):
                ready = await self._ready
        except TimeoutError:
            return False
        if not ready:
            await self.wait_exit()
        return ready

    async def wait_exit(self) -> None:
        """Return when the child has ended and its last words have been read."""
        await self._exited.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                await self._drained.wait()

    async def stop(self, seconds: float = _STOP_SECONDS) -> None:
        """End the child by the end of its input, after ``seconds`` with SIGKILL for its process group."""
        self.stopping = True
        transport = self._running_transport()
        stdin = transport.get_pipe_transport(0)
        if stdin is not None:
            stdin.close()
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._exited.wait()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(transport.get_pid(), signal.SIGKILL)
            transport.close()
            self._command.clear()
        await self._exited.wait()

    def usage(self) -> BrokerUsage | None:
        """Return CPU time and memory of the child, or of the process that it supervises; None once ended."""
        try:
            process = psutil.Process(self._running_transport().get_pid())
            process = next(iter(process.children()), process)
            with process.oneshot():
                times = process.cpu_times()
                return BrokerUsage(times.user + times.system, process.memory_info().rss)
        except psutil.NoSuchProcess:
            return None

    def _running_transport(self) -> asyncio.SubprocessTransport:
        if self._transport is None:
            raise BrokerError("the broker's process has not been started")
        return self._transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport of the child that has just been started."""
        self._transport = cast("asyncio.SubprocessTransport", transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Cut the child's output into lines, and look among them for the one that says it is ready."""
        *lines, self._partial[fd] = (self._partial.get(fd, b"") + data).split(b"\n")
        for line in lines:
            text = line.decode(errors="replace").rstrip()
            if self._command.ready in text and not self._ready.done():
                self._ready.set_result(True)
            for words, said in self._awaited.items():
                if words in text and not said.done():
                    said.set_result(True)
            self._lines.append(text)
            _log.info("%s", text)

    def process_exited(self) -> None:
        """Note that the child has ended; what it wrote may still be in the pipes."""
        if not self._ready.done():
            self._ready.set_result(False)
        for said in self._awaited.values():
            if not said.done():
                said.set_result(False)
        self._exited.set()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the signature is asyncio's
        """Note that all output of the child has been read."""
        self._drained.set()
