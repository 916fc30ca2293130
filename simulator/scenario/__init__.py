"""Scenarios: what a run does, as frozen values (``model``) and as TOML files (``loader``)."""
