"""A second opinion on the wire: tshark reads a capture, with the key log, and says what MQTT it finds."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from tests.support.tools import require

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

NAMES = (
    "",
    "CONNECT",
    "CONNACK",
    "PUBLISH",
    "PUBACK",
    "PUBREC",
    "PUBREL",
    "PUBCOMP",
    "SUBSCRIBE",
    "SUBACK",
    "UNSUBSCRIBE",
    "UNSUBACK",
    "PINGREQ",
    "PINGRESP",
    "DISCONNECT",
    "AUTH",
)
"""Packet types by number [MQTT 5.0, table 2-1]."""

FLAGS = {"PUBREL": 0b0010, "SUBSCRIBE": 0b0010, "UNSUBSCRIBE": 0b0010}
QOS_3 = 0b0110
"""Flags of the fixed header that are not zero, but for PUBLISH, and what no PUBLISH has [5.0, table 2-2]."""

WARNING = 0x00600000
"""Wireshark's severity of a warning; that of an error is higher."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One MQTT packet as the dissector understands it; ``fields`` are its values by Wireshark's names."""

    name: str
    from_client: bool
    fields: dict[str, str]

    @property
    def message(self) -> tuple[str, str]:
        """Topic and text of a PUBLISH."""
        payload = bytes.fromhex(self.fields["mqtt.msg"].replace(":", ""))
        return self.fields["mqtt.topic"], payload.decode()


@dataclass(frozen=True, slots=True)
class Dissection:
    """The MQTT packets of a capture in order, and what the dissector finds wrong with them."""

    packets: list[Seen]
    complaints: list[str]

    def sent(self, name: str, **fields: int) -> list[Seen]:
        """Return the packets of a type that clients sent; ``fields`` such as ``qos=1`` narrow it down."""
        return [each for each in self._of(name, fields) if each.from_client]

    def received(self, name: str, **fields: int) -> list[Seen]:
        """Return the packets of a type that clients got."""
        return [each for each in self._of(name, fields) if not each.from_client]

    def _of(self, name: str, fields: Mapping[str, int]) -> Iterator[Seen]:
        wanted = {f"mqtt.{key}": str(value) for key, value in fields.items()}.items()
        return (each for each in self.packets if each.name == name and wanted <= each.fields.items())


def dissect(capture: Path, port: int, key_log: Path) -> Dissection:
    """Return what tshark finds in a capture of a broker's port; what it cannot decrypt, it does not find."""
    command = [require("tshark"), "-n", "-r", str(capture), "-T", "pdml", "-Y", "mqtt or _ws.malformed"]
    command += ["-o", f"tls.keylog_file:{key_log}"]
    command += ["-d", f"tcp.port=={port},tls", "-d", f"tls.port=={port},mqtt"]
    shown = subprocess.run(command, capture_output=True, check=True).stdout
    packets: list[Seen] = []
    complaints: list[str] = []
    for frame in ET.fromstring(shown).iterfind("packet"):
        to = _value(frame, "tcp.dstport")
        for layer in frame.iterfind("proto"):
            if layer.get("name") == "mqtt":
                fields = {each.get("name", ""): each.get("show", "") for each in layer.iter("field")}
                packets.append(Seen(NAMES[int(fields["mqtt.msgtype"])], to == str(port), fields))
            complaints += [f"frame {_value(frame, 'num')}: {each}" for each in _complaints(layer)]
    return Dissection(packets, complaints)


def _value(frame: ET.Element, name: str) -> str | None:
    field = frame.find(f".//field[@name='{name}']")
    return None if field is None else field.get("show")


def _complaints(layer: ET.Element) -> Iterator[str]:
    """Yield what the dissector says of MQTT at warning or error, and what has flags that MQTT reserves."""
    if layer.get("name") == "_ws.malformed":
        yield layer.get("showname", "")
    if layer.get("name") != "mqtt":
        return
    for expert in layer.iterfind(".//field[@name='_ws.expert']"):
        if int(_value(expert, "_ws.expert.severity") or 0) >= WARNING:
            yield expert.get("showname", "")
    kind, flags = divmod(int(_value(layer, "mqtt.hdrflags") or "0", 16), 16)
    right = flags & QOS_3 != QOS_3 if NAMES[kind] == "PUBLISH" else flags == FLAGS.get(NAMES[kind], 0)
    if not right or not NAMES[kind]:
        yield f"the fixed header 0x{kind << 4 | flags:02x} is reserved"
