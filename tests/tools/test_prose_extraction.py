from __future__ import annotations

from textwrap import dedent

from tools.prose import documentation, prose

SOURCE = dedent(
    '''\
    """A module."""
    # A reason
    # in two lines.
    import os  # noqa: F401 - kept for a test
    NAME = "not-prose/at all"

    class Thing:
        """A thing."""

        field: int = 0
        """A field."""

        def act(self, path):
            """Act."""
            raise ValueError(f"{path}: cannot act on {path!r:>{3}} "
                             "without a reason")
    '''
)


def test_docstrings_comments_and_messages_are_prose() -> None:
    assert prose(SOURCE).split("\n\n") == [
        "A module.",
        "A thing.",
        "A field.",
        "Act.",
        "A reason in two lines.",
        "not-prose/at all",
        "{}: cannot act on {} without a reason",
    ]


def test_documentation_leaves_messages_and_directives_out() -> None:
    assert documentation(SOURCE) == ["A module.", "A thing.", "A field.", "Act.", "A reason", "in two lines."]
