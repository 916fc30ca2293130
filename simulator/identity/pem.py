"""PEM (RFC 7468): the text around DER, and back.

Knows labels and base64; what the DER means is for others.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Block", "blocks", "certificates", "private_key", "revocation_lists", "wrap"]

_LINE = 64  # RFC 7468 section 2: lines of exactly 64 characters, but the last
_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", re.DOTALL)


class Block(NamedTuple):
    """One encapsulated object; ``text`` is the whole of it, with the lines that begin and end it."""

    label: str
    text: bytes


def wrap(label: str, der: bytes) -> str:
    """Return ``der`` as one PEM block, with the end of the last line."""
    text = base64.b64encode(der).decode("ascii")
    body = "\n".join(text[start : start + _LINE] for start in range(0, len(text), _LINE))
    return f"-----BEGIN {label}-----\n{body}\n-----END {label}-----\n"


def certificates(ders: Iterable[bytes]) -> str:
    """Return certificates one after the other, in the order given."""
    return "".join(wrap("CERTIFICATE", der) for der in ders)


def revocation_lists(ders: Iterable[bytes]) -> str:
    """Return revocation lists one after the other (RFC 7468 section 6)."""
    return "".join(wrap("X509 CRL", der) for der in ders)


def private_key(der: bytes) -> str:
    """Return a PKCS#8 key, not encrypted (RFC 7468 section 10)."""
    return wrap("PRIVATE KEY", der)


def blocks(text: bytes) -> list[Block]:
    """Return every block in ``text``; what stands between blocks is a comment (RFC 7468 section 2)."""
    return [Block(found[1].decode("ascii"), found[0]) for found in _BLOCK.finditer(text)]
