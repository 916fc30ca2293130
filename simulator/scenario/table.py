"""What every table of a scenario is: frozen, closed to unknown keys, and telling all its mistakes at once.

A mistake that one field alone shows is found by that field's type. One that several fields show together is
yielded by ``Table.mistakes``; all of them end up in one pydantic ``ValidationError``, each at its own key.
This module must not know any particular table.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

__all__ = ["Mistake", "Table", "refusal"]


class Mistake(NamedTuple):
    """Something that is wrong at ``key``, relative to the table it was found in, said in ``phrase``."""

    key: tuple[str | int, ...]
    phrase: str


class Table(BaseModel):
    """A frozen table of settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    def mistakes(self) -> Iterator[Mistake]:
        """Yield what is wrong between fields that are each right by themselves."""
        return iter(())

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        mistakes = list(self.mistakes())
        if mistakes:
            raise refusal(mistakes)
        return self


def refusal(mistakes: Iterable[Mistake], found: ValidationError | None = None) -> ValidationError:
    """Return one error that holds everything in ``found`` and all ``mistakes``."""
    details = [
        InitErrorDetails(
            type=_kind(error["type"], error.get("ctx", {})),
            loc=error["loc"],
            input=error["input"],
            ctx=error.get("ctx", {}),
        )
        for error in (found.errors() if found else ())
    ]
    details += [
        InitErrorDetails(type=_kind("mistake", {"phrase": phrase}), loc=key, input=None)
        for key, phrase in mistakes
    ]
    return ValidationError.from_exception_data("scenario", details)


def _kind(name: str, context: dict[str, object]) -> str | PydanticCustomError:
    return PydanticCustomError("mistake", "{phrase}", context) if name == "mistake" else name
