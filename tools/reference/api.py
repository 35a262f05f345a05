"""The page of the public API: the names in `harness.__all__` with their signatures and docstrings."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Iterator
from functools import cached_property
from textwrap import dedent
from typing import Final, ForwardRef, get_args, get_type_hints

from pydantic import BaseModel

import harness
from tools.reference.markdown import page, table

_SECTION: Final = re.compile(r"^(Args|Attributes|Raises|Returns|Yields):$", re.MULTILINE)
_EXAMPLE: Final = """```python
import harness

suite = harness.load_suite("quickstart")
options = harness.RunOptions(assets="embedded")
run = harness.run_suite(suite, options)  # the folder of the run, and its report
comparison = harness.compare([run.report], by="padding", baseline="dynamic")
run.report.to_frame()  # a pandas data frame, where pandas is installed
```"""


def api_page() -> str:
    """Return the page: a section for each public name, functions first."""
    names = [name for name in harness.__all__ if not name.startswith("_")]
    order = sorted(names, key=lambda name: not inspect.isfunction(getattr(harness, name)))
    return page(
        "Python API",
        "`harness.__all__`",
        f"These names are public; every other name may change. None imports torch.\n\n{_EXAMPLE}",
        *(part for name in order for part in _sections(name, getattr(harness, name))),
    )


def _sections(name: str, found: object) -> Iterator[str]:
    if inspect.isfunction(found):
        yield f"## {name}\n\n```python\n{name}{_signature(found)}\n```"
        yield _prose(inspect.getdoc(found) or "")
    elif inspect.isclass(found):
        yield f"## {name}"
        yield _prose(inspect.getdoc(found) or "")
        if fields := _fields(found):
            yield f"Fields: {', '.join(f'`{field}`' for field in fields)}."
        if rows := [[f"`{each}`", text] for each, text in _members(found)]:
            yield table(["Member", "Meaning"], rows)
    else:
        yield f"## {name}\n\nA mapping by name; [its page](../reference/{name.lower()}.md) lists the entries."


def _signature(function: Callable[..., object]) -> str:
    text = ",\n    ".join(_parameters(function))
    return f"(\n    {text},\n) -> {inspect.signature(function).return_annotation}"


def _parameters(function: Callable[..., object]) -> Iterator[str]:
    keyword_only = False
    for each in inspect.signature(function).parameters.values():
        if each.kind is each.VAR_KEYWORD:
            # `**options: Unpack[Options]`: the keys of a typed dictionary, each optional.
            (options,) = get_args(get_type_hints(function)[each.name])
            yield from (
                "*",
                *(f"{name}: {_written(kind)} = ..." for name, kind in options.__annotations__.items()),
            )
            continue
        if each.kind is each.KEYWORD_ONLY and not keyword_only:
            keyword_only = True
            yield "*"
        default = "" if each.default is each.empty else f" = {each.default!r}"
        yield f"{each.name}: {each.annotation}{default}"


def _written(annotation: object) -> str:
    return annotation.__forward_arg__ if isinstance(annotation, ForwardRef) else str(annotation)


def _fields(found: type) -> list[str]:
    if issubclass(found, BaseModel):
        return list(found.model_fields)
    return [each.name for each in dataclasses.fields(found)] if dataclasses.is_dataclass(found) else []


def _members(found: type) -> Iterator[tuple[str, str]]:
    """The public methods and properties that the class itself declares, with the first line of each."""
    for name, member in vars(found).items():
        if name.startswith(("_", "model_")):
            continue
        computed = isinstance(member, property | cached_property)
        function = _function(member)
        if inspect.isfunction(function) and function.__doc__ is not None:
            first = inspect.cleandoc(function.__doc__).partition("\n\n")[0]
            yield name if computed else f"{name}()", " ".join(first.split())


def _function(member: object) -> object:
    match member:
        case property():
            return member.fget
        case cached_property():
            return member.func
    return getattr(member, "__func__", member)


def _prose(text: str) -> str:
    """Return a docstring as Markdown: sections as lists, examples as code."""
    head, *rest = _SECTION.split(_with_examples(text))
    parts = [head.strip()]
    for title, body in zip(rest[::2], rest[1::2], strict=True):
        entries, _, after = body.strip("\n").partition("\n\n")
        items = re.split(r"\n(?=    \S)", entries)
        parts.append(f"{title}:\n\n" + "\n".join(f"- {_entry(each)}" for each in items))
        parts.append(after.strip())
    return "\n\n".join(part for part in parts if part)


def _entry(text: str) -> str:
    joined = " ".join(text.split())
    return re.sub(r"^([\w*, ]+): ", lambda found: f"`{found[1]}`: ", joined)


def _with_examples(text: str) -> str:
    """Fence the examples of a docstring."""
    text = re.sub(
        r"^Example:\n((?:    .*\n?)+)",
        lambda found: f"```python\n{dedent(found[1])}\n```\n",
        text,
        flags=re.MULTILINE,
    )
    return re.sub(
        r"((?:^>>> .*\n?(?:(?!\n|>>> ).+\n?)*)+)", r"```python\n\1\n```\n", text, flags=re.MULTILINE
    )
