"""Measure the structure of `harness/`: sizes, imports and repetition, as a Markdown table or as JSON.

python -m tools.structure --json --root OLD_CHECKOUT > old.json
python -m tools.structure --against old.json
"""

from __future__ import annotations

import ast
import json
import re
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

import click
import numpy as np

from tools.prose import documentation, words

PACKAGE: Final = "harness"
LONG_FILE: Final = 350
FULL_FOLDER: Final = 15
AXES: Final = ("cuda_graphs", "last_layer")
METRICS: Final = ("eval_f1",)

Value = int | float
Functions = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Source:
    """A module: its dotted name, its text, and its syntax tree."""

    module: str
    text: str
    tree: ast.Module

    @property
    def lines(self) -> int:
        """The number of lines, blank ones included."""
        return self.text.count("\n")


@dataclass(frozen=True, slots=True)
class Measure:
    """A row of the table: a key, a description, a target that must not be exceeded, and how to compute it."""

    key: str
    meaning: str
    compute: Callable[[Sequence[Source]], Value]
    target: Value | None = None


def read_sources(root: Path) -> list[Source]:
    """Return the modules of the package in the checkout `root`, sorted by path."""
    files = sorted((root / PACKAGE).rglob("*.py"))
    texts = [path.read_text(encoding="utf-8") for path in files]
    return [
        Source(_module_name(path.relative_to(root)), text, ast.parse(text))
        for path, text in zip(files, texts, strict=True)
    ]


def imported_modules(source: Source, known: frozenset[str]) -> frozenset[str]:
    """Return the modules of the package that a module imports when it is imported itself."""
    found: set[str] = set()
    for statement in _executed_on_import(source.tree.body):
        match statement:
            case ast.Import(names=names):
                found.update(name.name for name in names)
            case ast.ImportFrom(module=str(module), names=names):
                # `from harness.model import trial` imports a module, `from harness.errors import ...` a name.
                submodules = {f"{module}.{name.name}" for name in names} & known
                found.update(submodules or {module})
    return frozenset((found & known) - {source.module})


def measure(sources: Sequence[Source]) -> dict[str, Value]:
    """Return the value of every measure by its key."""
    return {each.key: each.compute(sources) for each in MEASURES}


def in_cycles(edges: Mapping[str, frozenset[str]]) -> int:
    """Return how many modules import themselves through others.

    >>> in_cycles({"a": frozenset("b"), "b": frozenset("a"), "c": frozenset("a")})
    2
    """
    return sum(module in _reachable(edges, module) for module in edges)


def _reachable(edges: Mapping[str, frozenset[str]], start: str) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        new = edges[waiting.pop()] - found
        found |= new
        waiting.extend(new)
    return found


def _module_name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _executed_on_import(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    for statement in body:
        match statement:
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                continue
            case ast.If(body=inner, orelse=other):
                yield from _executed_on_import([*inner, *other])
            case ast.Try(body=inner, handlers=handlers, orelse=other):
                yield from _executed_on_import([*inner, *(s for h in handlers for s in h.body), *other])
            case _:
                yield statement


def _edges(sources: Sequence[Source]) -> dict[str, frozenset[str]]:
    known = frozenset(source.module for source in sources)
    return {source.module: imported_modules(source, known) for source in sources}


def _edges_a_module(sources: Sequence[Source]) -> float:
    return round(statistics.mean(map(len, _edges(sources).values())), 2)


def _single_importer_modules(sources: Sequence[Source]) -> int:
    importers = Counter(target for targets in _edges(sources).values() for target in targets)
    return sum(number == 1 for number in importers.values())


def _import_share(sources: Sequence[Source]) -> float:
    """Return the share of lines that import statements take at any level, in percent."""
    importing = sum(
        _length(node)
        for source in sources
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
    )
    return round(100 * importing / sum(source.lines for source in sources), 1)


def _length(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def _function_lengths(sources: Sequence[Source]) -> list[int]:
    functions = (node for source in sources for node in ast.walk(source.tree) if isinstance(node, Functions))
    return [_length(node) for node in functions]


def _file_lengths(sources: Sequence[Source]) -> list[int]:
    return [source.lines for source in sources]


def _median(lengths: Callable[[Sequence[Source]], list[int]]) -> Callable[[Sequence[Source]], Value]:
    return lambda sources: round(statistics.median(lengths(sources) or [0]))


def _p90(lengths: Callable[[Sequence[Source]], list[int]]) -> Callable[[Sequence[Source]], Value]:
    return lambda sources: round(float(np.percentile(lengths(sources) or [0], 90)))


def _largest(lengths: Callable[[Sequence[Source]], list[int]]) -> Callable[[Sequence[Source]], Value]:
    return lambda sources: max(lengths(sources), default=0)


def _files_with(word: str) -> Callable[[Sequence[Source]], Value]:
    return lambda sources: sum(bool(re.search(rf"\b{word}\b", source.text)) for source in sources)


def _repeated_names(sources: Sequence[Source]) -> int:
    """Return how many names two or more modules share, packages included."""
    names = Counter(source.module.rpartition(".")[2] for source in sources)
    return sum(number > 1 for number in names.values())


def _full_folders(sources: Sequence[Source]) -> int:
    """Return how many folders have more files than `FULL_FOLDER`, `__init__.py` not counted."""
    packages = {source.module for source in sources}
    folders = Counter(
        source.module.rpartition(".")[0] for source in sources if not _is_package(source, packages)
    )
    return sum(number > FULL_FOLDER for number in folders.values())


def _is_package(source: Source, modules: set[str]) -> bool:
    return any(module.startswith(f"{source.module}.") for module in modules)


def _prose_words(sources: Sequence[Source]) -> int:
    return sum(len(words(passage)) for source in sources for passage in documentation(source.text))


MEASURES: Final[tuple[Measure, ...]] = (
    Measure("files", "files", len, 160),
    Measure("lines", "lines", lambda sources: sum(_file_lengths(sources)), 20_500),
    Measure("file_median", "lines of a file: median", _median(_file_lengths)),
    Measure("file_p90", "lines of a file: 90th percentile", _p90(_file_lengths)),
    Measure("file_max", "lines of a file: largest", _largest(_file_lengths), LONG_FILE),
    Measure(
        "long_files",
        f"files over {LONG_FILE} lines",
        lambda s: sum(n > LONG_FILE for n in _file_lengths(s)),
        0,
    ),
    Measure("function_median", "lines of a function: median", _median(_function_lengths)),
    Measure("function_p90", "lines of a function: 90th percentile", _p90(_function_lengths)),
    Measure("function_max", "lines of a function: largest", _largest(_function_lengths)),
    Measure("import_percent", "lines that import, in percent", _import_share, 6),
    Measure("edges", "imports inside the package, per module", _edges_a_module, 3.5),
    Measure("single_importer", "modules with one importer", _single_importer_modules, 20),
    Measure("in_cycles", "modules in an import cycle", lambda sources: in_cycles(_edges(sources)), 0),
    Measure("repeated_names", "module names used more than once", _repeated_names, 0),
    Measure("full_folders", f"folders with more than {FULL_FOLDER} files", _full_folders, 0),
    *(Measure(f"axis_{axis}", f"files with the axis `{axis}`", _files_with(axis)) for axis in AXES),
    *(Measure(f"metric_{name}", f"files with the metric `{name}`", _files_with(name)) for name in METRICS),
    Measure("prose_words", "words in docstrings and comments", _prose_words),
)


def table(now: Mapping[str, Value], before: Mapping[str, Value] | None = None) -> str:
    """Return the measures as a Markdown table; a target that is not met is in bold."""
    heads = ["measure", *(["before"] if before is not None else []), "now", "target"]
    rows = [heads, ["---", *("---:" for _ in heads[1:])]]
    for each in MEASURES:
        value = f"{now[each.key]:,}"
        met = each.target is None or now[each.key] <= each.target
        earlier = [] if before is None else [f"{before[each.key]:,}"]
        target = "" if each.target is None else (f"at most {each.target:,}" if each.target else "none")
        rows.append([each.meaning, *earlier, value if met else f"**{value}**", target])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


HEAD: Final = f"""# Structure in numbers

Counted in `{PACKAGE}/` by `python -m tools.structure`; a target that is not met is in bold.
"""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the measures as JSON.")
@click.option(
    "--against",
    type=click.File(encoding="utf-8"),
    help="JSON of an earlier state, to be shown as a column.",
)
@click.option(
    "--root",
    default=".",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The checkout to measure (default: the current directory).",
)
def main(as_json: bool, against: TextIO | None, root: Path) -> None:
    """Measure the structure of the package."""
    sources = read_sources(root)
    if not sources:
        raise click.UsageError(f"{root}: no folder {PACKAGE}/ with Python files; give a checkout with --root")
    now = measure(sources)
    if as_json:
        click.echo(json.dumps(now, indent=2))
        return
    click.echo(f"{HEAD}\n{table(now, None if against is None else json.load(against))}", nl=False)


if __name__ == "__main__":
    main()
