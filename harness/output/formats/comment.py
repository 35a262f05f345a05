"""A document as a comment on a pull request: the answer, the doubts, the main table and what differs.

The first line is a hidden marker, the same for every comment of one document's name, by which a CI job finds
the comment to replace. Limit: 65,536 characters a comment. Source:
https://docs.github.com/en/rest/issues/comments
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from harness.output.document import Document
from harness.output.formats.markdown import to_markdown

MOST_CHARACTERS: Final = 65_536

_CUT: Final = "\n\nThe rest is left out: a comment has at most 65,536 characters. The page has everything.\n"
# The parts next to the main table that decide a review.
_KEPT: Final = frozenset({"What differs", "Only what differs"})


def to_comment(document: Document) -> str:
    """Return the marker and the Markdown of these parts, cut at a line inside the limit."""
    others = (*document.tables[1:], *document.details)
    kept = (table for table in others if table.title in _KEPT)
    chosen = replace(document, charts=(), tables=(*document.tables[:1], *kept), details=())
    return _inside([marker(document), "", *to_markdown(chosen).splitlines()])


def marker(document: Document) -> str:
    """Return the hidden first line: the kind and the name, of which nothing can end a comment.

    >>> marker(Document(kind="check", title="", model={}, name="gates of padding --> x"))
    '<!-- harness check: gates of padding x -->'
    """
    name = " ".join(re.findall(r"\w[\w.]*", document.name))
    return f"<!-- harness {document.kind}: {name[:100]} -->"


def _inside(lines: Sequence[str]) -> str:
    whole = "\n".join(lines) + "\n"
    if len(whole) <= MOST_CHARACTERS:
        return whole
    kept = whole[: MOST_CHARACTERS - len(_CUT)]
    return kept[: kept.rfind("\n")] + _CUT
