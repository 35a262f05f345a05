"""Tables and headings of the derived pages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def page(title: str, source: str, *parts: str) -> str:
    """Return a page: its title, the code that it is derived from, and its parts."""
    head = f"# {title}\n\nWritten by `python -m tools.reference` from {source}; do not edit this page."
    return "\n\n".join((head, *(part.strip("\n") for part in parts))) + "\n"


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    r"""Return a table; a bar within a cell is escaped.

    >>> print(table(["a", "b"], [[1, "x|y"]]))
    | a | b |
    |---|---|
    | 1 | x\|y |
    """
    lines = [columns, *rows]
    head, *body = ("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)
    return "\n".join((head, "|" + "---|" * len(columns), *body))


def code(names: Iterable[object]) -> str:
    """Return names as code, separated by commas."""
    return ", ".join(f"`{name}`" for name in names)
