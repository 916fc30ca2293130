"""Brokers of a run: the embedded one, a managed mosquitto, or somebody else's."""
