"""MQTT 5.0."""


def read(buffer, start=0, maximum=0):
    return None


def write(packet):
    return b""
