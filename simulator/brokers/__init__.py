"""Brokers to run against: embedded, managed mosquitto, external."""
