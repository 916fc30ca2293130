"""The closed lists of words that a scenario chooses from. Values only; it imports nothing of ours."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class KeyKind(StrEnum):
    """Algorithm and size of a private key."""

    EC_P256 = "ec-p256"
    EC_P384 = "ec-p384"
    ED25519 = "ed25519"
    RSA_2048 = "rsa-2048"
    RSA_3072 = "rsa-3072"


class CertificateKind(StrEnum):
    """Who vouches for a device's certificate."""

    ISSUED = "issued"
    SELF_SIGNED = "self-signed"


class MqttVersion(StrEnum):
    """Protocol version of a device's session."""

    V311 = "3.1.1"
    V5 = "5.0"


class TlsVersion(StrEnum):
    """TLS versions that a device offers; ``ANY`` offers 1.2 and 1.3."""

    V12 = "1.2"
    V13 = "1.3"
    ANY = "any"


class BrokerKind(StrEnum):
    """Where the broker of a run comes from."""

    EMBEDDED = "embedded"
    MOSQUITTO = "mosquitto"
    EXTERNAL = "external"


class ArrivalKind(StrEnum):
    """How the due times of connects or messages are laid out."""

    CONSTANT = "constant"
    RAMP = "ramp"
    POISSON = "poisson"
    BURST = "burst"


class Endpoint(NamedTuple):
    """Where a broker listens: a host name or address, and a TCP port."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"
