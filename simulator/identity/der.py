"""DER (ITU-T X.690): as much of it as putting a certificate together from encoded parts takes.

Reads what the cryptography library wrote, and nothing that came from outside. Knows nothing of certificates.
"""

from __future__ import annotations

__all__ = ["bit_string", "elements", "integer", "octets", "sequence", "set_of", "utf8_string"]

_INTEGER, _BIT_STRING, _UTF8_STRING, _SEQUENCE, _SET = 0x02, 0x03, 0x0C, 0x30, 0x31
_LONG = 0x80  # the first octet of a length is the length, or with this bit the number of octets that follow


def sequence(*encoded: bytes) -> bytes:
    """Return the SEQUENCE of these elements, which are encoded already."""
    return _element(_SEQUENCE, b"".join(encoded))


def set_of(encoded: bytes) -> bytes:
    """Return the SET OF one element, which is encoded already."""
    return _element(_SET, encoded)


def integer(value: int) -> bytes:
    """Return an INTEGER that is not negative; X.690 8.3.2: in as few octets as leave the sign bit clear."""
    return _element(_INTEGER, value.to_bytes(value.bit_length() // 8 + 1))


def utf8_string(text: str) -> bytes:
    """Return the UTF8String of a text."""
    return _element(_UTF8_STRING, text.encode())


def bit_string(content: bytes) -> bytes:
    """Return the BIT STRING of whole octets; X.690 8.6.2.2: the first one tells how many bits are unused."""
    return _element(_BIT_STRING, b"\x00" + content)


def octets(encoded: bytes) -> bytes:
    """Return what ``bit_string`` encoded."""
    begin, end = _content(encoded, 0)
    return encoded[begin + 1 : end]


def elements(encoded: bytes) -> list[bytes]:
    """Return the elements of a SEQUENCE, each as it is encoded."""
    found = []
    at, end = _content(encoded, 0)
    while at < end:
        _, after = _content(encoded, at)
        found.append(encoded[at:after])
        at = after
    return found


def _element(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < _LONG:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8)  # X.690 10.1: no octet more than it needs
    return bytes((tag, _LONG | len(length))) + length + content


def _content(encoded: bytes, at: int) -> tuple[int, int]:
    """Return where the content of the element at ``at`` begins and ends."""
    begin, length = at + 2, encoded[at + 1]
    if length & _LONG:
        begin, length = begin + length - _LONG, int.from_bytes(encoded[begin : begin + length - _LONG])
    return begin, begin + length
