"""What holds for all tests: the speed of this machine fails none that makes up its own examples."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")
