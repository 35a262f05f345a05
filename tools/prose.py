"""Extract the English prose of Python sources: docstrings, comments and sentences in string literals."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from typing import Final

# A literal with fewer words is a name, a path or a format, not a message.
SHORTEST_MESSAGE: Final = 3

_DIRECTIVE: Final = re.compile(r"#\s*(?:noqa|type:|pragma:|ruff:|mypy:|fmt:|!)")
_WORD: Final = re.compile(r"[A-Za-z]+(?:['-][A-Za-z]+)*")
_DOCUMENTED: Final = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def words(text: str) -> list[str]:
    """Return the words of a text: letters, with inner hyphens and apostrophes.

    >>> words("A stand-in isn't `eval_f1`: 3 of 408.")
    ['A', 'stand-in', "isn't", 'eval', 'f', 'of']
    """
    return _WORD.findall(text)


def docstrings(tree: ast.Module) -> Iterator[ast.Constant]:
    """Yield the docstrings of a module: its own, and those of its classes, functions and fields."""
    for node in ast.walk(tree):
        if not isinstance(node, _DOCUMENTED):
            continue
        for statement in node.body:
            match statement:
                case ast.Expr(value=ast.Constant(value=str()) as literal):
                    yield literal


def comments(source: str) -> Iterator[str]:
    """Yield the text of each comment, without directives to other tools such as `# noqa: S101 - why`."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and not _DIRECTIVE.match(token.string):
            yield token.string.lstrip("# ")


def messages(tree: ast.Module) -> Iterator[str]:
    """Yield string literals of at least `SHORTEST_MESSAGE` words; a field of an f-string becomes `{}`."""
    skipped = {id(literal) for literal in docstrings(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            skipped.update(id(part) for part in ast.walk(node) if part is not node)
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) if id(node) not in skipped:
                pass
            case ast.JoinedStr() if id(node) not in skipped:
                text = _with_fields(node)
            case _:
                continue
        if len(words(text)) >= SHORTEST_MESSAGE and " " in text.strip():
            yield text


def documentation(source: str) -> list[str]:
    """Return the docstrings and comments of a module."""
    return [str(literal.value) for literal in docstrings(ast.parse(source))] + list(comments(source))


def prose(source: str) -> str:
    r"""Return all prose of a module in one text, a blank line between passages.

    Lines are joined, so that a phrase is found where a line break divides it.

    >>> prose("# Why: two\n# lines.\nx = f'no file {path} here'")
    'Why: two lines.\n\nno file {} here'
    """
    tree = ast.parse(source)
    passages = [str(literal.value) for literal in docstrings(tree)]
    passages += [" ".join(comments(source))]
    passages += messages(tree)
    return "\n\n".join(" ".join(passage.split()) for passage in passages if passage.strip())


def _with_fields(text: ast.JoinedStr) -> str:
    return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in text.values)
