"""What a scenario will take of machines, forecast from a measurement of a few seconds: ``simulator plan``."""
