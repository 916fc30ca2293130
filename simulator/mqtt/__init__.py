"""MQTT without I/O: packets, codecs for 3.1.1 and 5.0, and one client session for both."""
