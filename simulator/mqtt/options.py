"""What all sessions of a fleet have in common. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from simulator.scenario.kinds import MqttVersion

if TYPE_CHECKING:
    from simulator.mqtt.packets import UserProperties

__all__ = ["SessionOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOptions:
    """How sessions are opened; one value is shared by all devices that behave alike.

    ``keepalive`` and ``session_expiry`` are in seconds, ``maximum_packet_size`` in bytes of a whole packet
    that the server may send. ``receive_maximum`` bounds what the server may have unacknowledged towards us,
    and ``inflight_maximum`` what we allow ourselves towards the server, beside the server's own bound.
    ValueError for a value that the version cannot carry.
    """

    version: MqttVersion
    clean_start: bool = True
    keepalive: int = 60
    session_expiry: int = 0
    receive_maximum: int = 65535
    maximum_packet_size: int | None = None
    inflight_maximum: int = 65535
    user_properties: UserProperties = ()

    def __post_init__(self) -> None:
        """Refuse what could only fail at the first CONNECT of every device."""
        for name, least, most in (
            ("keepalive", 0, 65535),
            ("session_expiry", 0, 0xFFFFFFFF),
            ("receive_maximum", 1, 65535),  # MQTT 5.0, 3.1.2.11.3
            ("inflight_maximum", 1, 65535),
        ):
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"{name} must be from {least} to {most}, not {getattr(self, name)}")
        if self.maximum_packet_size is not None and self.maximum_packet_size < 1:  # MQTT 5.0, 3.1.2.11.4
            raise ValueError(f"maximum_packet_size must be at least 1, not {self.maximum_packet_size}")
        if self.version is MqttVersion.V311 and (self.session_expiry or self.user_properties):
            raise ValueError("session_expiry and user_properties need MQTT 5.0")
