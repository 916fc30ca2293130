"""The README is finished, and names files that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_no_figure_is_left_out() -> None:
    assert "@@" not in (ROOT / "README.md").read_text(encoding="utf-8")


def test_what_it_links_to_exists() -> None:
    links = re.findall(r"\]\(([\w./-]+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
