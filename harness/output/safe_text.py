"""Safe text: whatever is unseen or takes control is made visible, before any format escapes its own signs.

Names, reasons and log lines come from suites, the Hub and crashing processes. A terminal obeys escape
sequences in them, a reader believes what bidirectional marks turn around, and a CI runner obeys lines that
look like its commands.
"""

from __future__ import annotations

import re
from typing import Final

_SHORT: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}

# Printable by Python's rule and yet drawn as nothing: joiners, fillers and variation selectors.
_UNSEEN: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)

# The commands of GitHub's and Azure's runners; a wrapped line may begin anywhere in a text.
_RUNNER_COMMAND: Final = re.compile(
    "::(?=(?:add-mask|add-matcher|add-path|debug|echo|endgroup|error|group|notice|remove-matcher|save-state"
    "|set-env|set-output|stop-commands|warning)(?: [^\n]*?)?::)|##(?=\\[|vso\\[)",
    re.IGNORECASE,
)


def safe_text(text: str, limit: int | None = None) -> str:
    r"""One line of text with every control, bidirectional, zero-width and surrogate character spelt out.

    An escape becomes `\x1b`, a right-to-left override `\u202e`, a new line `\n`. Text beyond `limit`
    characters is replaced by the number of characters left out.

    >>> print(safe_text("\x1b[31mred\n"))
    \x1b[31mred\n
    >>> print(safe_text("::error::not a command"))
    \x3a:error::not a command
    >>> safe_text("a long reason", limit=6)
    'a long… (7 more characters)'
    """
    if limit is not None and len(text) > limit:
        return f"{safe_text(text[:limit])}… ({len(text) - limit:,} more characters)"
    text = _RUNNER_COMMAND.sub(lambda found: f"\\x{ord(found[0][0]):02x}{found[0][1]}", text)
    if text.isprintable() and not _UNSEEN.search(text):
        return text
    return "".join(
        character if character.isprintable() and not _UNSEEN.match(character) else _spelt_out(character)
        for character in text
    )


def safe_lines(text: str) -> list[str]:
    r"""Split a log into safe lines; expand tabs, and end a line at a carriage return too.

    >>> safe_lines("50 %\r100 %\nloss\t0.5\n")
    ['50 %', '100 %', 'loss    0.5']
    """
    return [safe_text(line.expandtabs(4)) for line in re.split("\r\n|\n|\r", text.strip("\r\n"))]


def _spelt_out(character: str) -> str:
    code = ord(character)
    if character in _SHORT:
        return _SHORT[character]
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
