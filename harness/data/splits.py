"""Read and check both splits of a data set; one error lists all problems."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, cast

from harness.assets.embedded import columns_of_stand_in
from harness.data.corpus import Corpus, Split, make_corpus
from harness.data.data_problems import Findings, InvalidDataError, encodable, kind_of, place
from harness.data.files import read_delimited, read_jsonl, read_parquet
from harness.data.glue import read_glue_file
from harness.data.labels import Classes, Label, classes_of, distinct, read_labels, read_targets
from harness.data.mrpc import mrpc_problems, read_glue, read_microsoft
from harness.data.tables import MISSING, Table, UnreadableError
from harness.model.assets import ResolvedData
from harness.model.tasks import Task, glue_task

_READERS: Final[dict[str, Callable[[Path, Sequence[str]], Table]]] = {
    ".csv": read_delimited,
    ".tsv": read_delimited,
    ".jsonl": read_jsonl,
    ".parquet": read_parquet,
}

Tables = list[Table]


def read_corpus(task: Task, data: ResolvedData) -> Corpus:
    """Read the training split and each evaluation split of a task, or their first rows by `task.limit`.

    Texts and labels beyond the limit are not checked, and classes not declared by the files are those of the
    rows kept.

    Raises:
        InvalidDataError: invalid files, columns, texts, labels or counts; the error lists all problems.
        NotCheckedError: the files are Parquet and pyarrow is not installed.
    """
    problems: list[str] = []
    if task.label in task.text:
        problems.append(f"column {task.label!r} is a text and the label: name another column by task.label")
    splits = dict.fromkeys((task.train_split, *task.eval_splits))
    tables = {split: _tables(task, data, split, problems) for split in splits}
    whole = {split: parts for split, parts in tables.items() if parts}
    if _is_real_mrpc(task, data):
        files = {split: ", ".join(part.file for part in parts) for split, parts in whole.items()}
        problems += mrpc_problems(files, {split: sum(len(t.rows) for t in p) for split, p in whole.items()})
    readable = _limited(task, whole, problems)
    texts = {split: read_texts(parts, task.text, problems) for split, parts in readable.items()}
    targets: dict[str, list[float]] = {}
    labels: dict[str, list[Label]] = {}
    for split, parts in readable.items():
        if task.kind == "regression":
            targets[split] = read_targets(parts, task.label, problems)
        else:
            labels[split] = read_labels(parts, task.label, problems)
    if problems:
        raise InvalidDataError(data, problems)
    left_out = sum(len(table.left_out) for parts in readable.values() for table in parts)
    names: tuple[str, ...]
    if task.kind == "regression":
        # The one output is named after its column.
        names = (task.label,)
        found = {split: Split(texts[split], targets[split]) for split in splits}
    else:
        classes = _classes(task, data, readable, labels)
        names = classes.names
        found = {
            split: Split(texts[split], [classes.ids[label] for label in labels[split]]) for split in splits
        }
    evaluation = {split: found[split] for split in task.eval_splits}
    return make_corpus(found[task.train_split], evaluation, names, left_out)


def _tables(task: Task, data: ResolvedData, split: str, problems: list[str]) -> Tables:
    """Return the tables of a split with all columns of the task; none if any of its files is unusable."""
    files = _files(data)
    if split not in files:
        problems.append(
            f"there is no split {split!r}; there are {', '.join(files) or 'none'}: set task.train_split or "
            "task.eval_split"
        )
        return []
    before = len(problems)
    tables: Tables = []
    for part in files[split]:
        try:
            table = _read(task, data, split, Path(part))
        except UnreadableError as error:
            problems.append(f"split {split!r}: {error}")
            continue
        official = data.layout == "glue"
        problems.extend(
            f"split {split!r}: {problem}" for problem in _table_problems(task, table, official=official)
        )
        tables.append(table)
    if len(problems) == before and not any(len(table.rows) for table in tables):
        names = ", ".join(table.file for table in tables)
        problems.append(f"split {split!r}: {names} has no rows; give a file with at least one example")
    return tables if len(problems) == before else []


def _limited(task: Task, tables: Mapping[str, Tables], problems: list[str]) -> dict[str, Tables]:
    """Return the first rows of each split that `task.limit` names, and the other splits whole."""
    found = dict(tables)
    if task.limit is None:
        return found
    if task.train_split in task.eval_splits and task.limit.train != task.limit.eval:
        problems.append(
            f"task.limit: training and evaluation both read the split {task.train_split!r}, so that train "
            "and eval must be equal"
        )
    for key, split in (("train", task.train_split), *(("eval", split) for split in task.eval_splits)):
        wanted: int | None = getattr(task.limit, key)
        if wanted is None or split not in tables:
            continue
        total = sum(len(table.rows) for table in tables[split])
        if wanted > total:
            problems.append(
                f"task.limit.{key}: {wanted:,} rows, but the split {split!r} has {total:,}; lower it, or "
                "leave it out for all rows"
            )
        found[split] = _first(tables[split], wanted)
    return found


def _first(tables: Tables, rows: int) -> Tables:
    kept: Tables = []
    for table in tables:
        if rows > 0:
            kept.append(table.first(rows))
            rows -= len(kept[-1].rows)
    return kept


def _files(data: ResolvedData) -> dict[str, tuple[str, ...]]:
    """Return the files of each split; Microsoft's validation split is part of its training file."""
    if data.layout != "microsoft":
        return data.files
    return {
        "train": data.files["train"],
        "validation": data.files["train"],
        **{split: parts for split, parts in data.files.items() if split == "test"},
    }


def _read(task: Task, data: ResolvedData, split: str, path: Path) -> Table:
    if data.layout == "microsoft" and split in ("train", "validation"):
        return read_microsoft(path, Path(data.files["dev_ids"][0]), split)
    if data.layout == "microsoft":
        return read_glue(path)
    if data.layout == "glue":
        return read_glue_file(path, None if glue_task(task) is None else task.config)
    columns = columns_of_stand_in(data.name, task) if data.source == "embedded" else {}
    table = _READERS[path.suffix](path, [columns.get(name, name) for name in (*task.text, task.label)])
    return table.renamed({found: name for name, found in columns.items()})


def _table_problems(task: Task, table: Table, *, official: bool) -> list[str]:
    missing = [column for column in dict.fromkeys((*task.text, task.label)) if column not in table.columns]
    if not missing:
        return []
    fix = "name the columns by task.text and task.label"
    if official and missing == ["label"]:
        fix = "GLUE's test sets have no labels: name another split by task.eval_split"
    return [
        f"{table.file} has no column {', '.join(map(repr, missing))}; it has {', '.join(table.names)}: {fix}"
    ]


def _classes(
    task: Task, data: ResolvedData, tables: Mapping[str, Tables], labels: Mapping[str, list[Label]]
) -> Classes:
    """Return the classes.

    Raises:
        InvalidDataError: the classes are invalid; the error lists all problems.
    """
    declared = {table.class_names.get(task.label, ()) for parts in tables.values() for table in parts}
    if len(declared) > 1:
        lists = " and ".join(f"({', '.join(names[:8])})" for names in sorted(declared))
        raise InvalidDataError(data, [f"column {task.label!r}: the files declare different classes: {lists}"])
    names = declared.pop()
    if (known := glue_task(task)) is not None:
        if names not in ((), known.labels):
            due, found = ", ".join(known.labels), ", ".join(names[:8])
            named = (task.config or "").upper()
            raise InvalidDataError(
                data, [f"{named}'s classes are {due}, the files declare {found}; get them again"]
            )
        names = known.labels
    train, *others = (
        distinct(tables[split], labels[split]) for split in (task.train_split, *task.eval_splits)
    )
    evaluation = {label: seen for each in reversed(others) for label, seen in each.items()}
    classes, problems = classes_of(task.label, train, evaluation, names, task.max_classes)
    if problems:
        raise InvalidDataError(data, problems)
    return classes


def _is_real_mrpc(task: Task, data: ResolvedData) -> bool:
    return task.name == "glue/mrpc" and not data.synthetic


_FIX_TEXT: Final = "give every row a text, or remove the row"


def read_texts(tables: Sequence[Table], columns: Sequence[str], problems: list[str]) -> list[tuple[str, ...]]:
    """Return a tuple of texts for each row of these tables; add cells that are not text to `problems`."""
    for column in columns:
        found = Findings(column)
        for table in tables:
            _check(table, column, found)
        problems.extend(found)
    rows: list[tuple[str, ...]] = []
    for table in tables:
        rows.extend(zip(*(cast("list[str]", table.columns[column]) for column in columns), strict=True))
    return rows


def _check(table: Table, column: str, found: Findings) -> None:
    values = table.columns[column]
    if set(map(type, values)) == {str} and encodable("".join(cast("list[str]", values))):
        return
    for at, value in enumerate(values):
        if value is MISSING:
            quoted = ' (an empty text is written "")' if table.untyped else ""
            found.add("missing", place(table, at), f"the text is missing{quoted}; {_FIX_TEXT}")
        elif not isinstance(value, str):
            found.add(
                f"{type(value)}", place(table, at), f"expected a text, found {kind_of(value)}; {_FIX_TEXT}"
            )
        elif not encodable(value):
            what = "the text contains half a surrogate pair, such as \\ud800, which is no character"
            found.add("surrogate", place(table, at), f"{what}; write the whole character")
