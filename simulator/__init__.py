"""Simulate fleets of MQTT devices that each authenticate with their own X.509 certificate."""
