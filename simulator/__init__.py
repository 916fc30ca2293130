"""Simulate fleets of MQTT devices that each authenticate with their own X.509 certificate."""

from importlib.metadata import version

__version__ = version("mqtt-fleet-simulator")
