"""Reads a run folder back, also that of a run that was killed in the middle of a line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pydantic import ValidationError

from simulator.errors import RunFolderError
from simulator.metrics.sample import Failure
from simulator.report import delivery_log, histogram_log, interval
from simulator.report.folder import DELIVERIES, FAILURES, HISTOGRAMS, INTERVALS, RUN_FILE
from simulator.report.run import FORMAT, RUN, Run
from simulator.report.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["read"]


def read(path: Path) -> Tally:
    """Return all that the run in folder ``path`` measured; ``RunFolderError`` where that cannot be read."""
    tally = Tally(_read_run(path))

    def add_histogram(text: str) -> None:
        line = histogram_log.parse(text)
        if line is not None:
            tally.add_histogram(line.shard, line.key, line.kind, line.histogram)

    _each_line(path / INTERVALS, lambda text: tally.add(interval.from_json(text)))
    _each_line(path / HISTOGRAMS, add_histogram)
    _each_line(path / FAILURES, lambda text: tally.add_failure(Failure.from_json(text)))
    if (path / DELIVERIES).exists():  # only an observed run has them
        _each_line(path / DELIVERIES, lambda text: tally.add_device(delivery_log.from_json(text)))
    return tally


def _read_run(path: Path) -> Run:
    file = path / RUN_FILE
    try:
        text = file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise RunFolderError(
            f"{path} is not a run folder: it has no {RUN_FILE}; give the folder that `simulator run` wrote"
        ) from None
    except OSError as error:
        raise RunFolderError(f"cannot read {file}: {error.strerror}") from error
    if _format_of(text) > FORMAT:
        raise RunFolderError(f"{path} was written by a newer simulator; update this one to report it")
    try:
        return RUN.validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise RunFolderError(f"{file} is damaged: {where or 'the file'}: {first['msg']}") from None


def _format_of(text: bytes) -> int:
    try:
        found = json.loads(text)["format"]
    except (ValueError, TypeError, KeyError):
        return FORMAT
    return found if isinstance(found, int) else FORMAT


def _each_line(path: Path, take: Callable[[str], object]) -> None:
    """Call ``take`` with each whole line; the last one may be torn, where the run was killed as it wrote."""
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if line.endswith("\n"):
                    _take(path, number, line, take)
    except FileNotFoundError:
        raise RunFolderError(f"{path.parent} is not complete: {path.name} is missing") from None
    except OSError as error:
        raise RunFolderError(f"cannot read {path}: {error.strerror}") from error


def _take(path: Path, number: int, line: str, take: Callable[[str], object]) -> None:
    try:
        take(line)
    except ValueError as error:
        raise RunFolderError(f"{path}, line {number}, is damaged: {error}") from None
