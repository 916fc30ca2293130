"""Run the embedded broker until standard input ends: one line of configuration, then revocation lists."""

from __future__ import annotations

import sys

from simulator.brokers.embedded.server import main

sys.exit(main())
