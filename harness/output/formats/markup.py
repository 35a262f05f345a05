"""Text in HTML and in the SVG inside of it."""

from __future__ import annotations

import html
from typing import Final

from harness.output.safe_text import safe_text

LONGEST_TEXT: Final = 2_000


def html_text(text: str, limit: int = LONGEST_TEXT) -> str:
    """Escape a text for HTML, also inside an attribute."""
    return html.escape(safe_text(text, limit), quote=True)
