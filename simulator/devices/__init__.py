"""Devices: what they all can do, and the virtual one."""
