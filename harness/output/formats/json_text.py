r"""A model's JSON as text that may meet a terminal or a CI runner's log: the same JSON, value for value.

JSON may spell any character of a string as `\uXXXX`, so what would be obeyed or hidden is spelt that way.
"""

from __future__ import annotations

import json
import re
from typing import Final

from harness.model.frozen import Frozen
from harness.output.document import Document
from harness.store.writing import to_json

# Azure's and GitHub's older runner commands are obeyed in the middle of a line.
_RUNNER_COMMAND: Final = re.compile(r"#(?=#\[|#vso\[)|:(?=:)")


def to_json_text(document: Document) -> str:
    """The document's model as JSON with every unseen or obeyed character of its strings escaped."""
    model = document.model
    if isinstance(model, Frozen):
        return safe_json(to_json(model).decode("utf-8"))
    return safe_json(json.dumps(model, indent=2, allow_nan=False)) + "\n"


def safe_json(text: str) -> str:
    """The same JSON document without raw controls, bidirectional marks or runner commands."""
    text = _RUNNER_COMMAND.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    if text.isascii() and "\x7f" not in text:
        return text
    return "".join(
        character if character == "\n" or character.isprintable() else _escape(character)
        for character in text
    )


def _escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
