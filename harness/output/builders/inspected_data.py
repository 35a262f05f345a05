"""An inspection as a document: the batch under each padding, one tokenized example, lengths and inputs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from harness.model.inspection import Example, InspectedBatch, Inspection
from harness.output.document import Chart, Column, Document, Table, Value
from harness.output.drawings import Axis, Bar, Bars
from harness.output.numbers import NOTHING, percent
from harness.words import count


def inspection_document(found: Inspection) -> Document:
    """Build a row for each padding and order of rows; the example, the lengths and the model follow."""
    return Document(
        kind="inspection",
        title=f"{found.data} as {found.checkpoint} sees it",
        model=found,
        summary=tuple(_summary(found)),
        tables=(
            Table("Batches", _batch_columns(found.batches), notes=tuple(_batch_notes(found))),
            Table(f"Example {found.example.row} of the training split", notes=tuple(_example(found.example))),
            Table("Splits", _split_columns(found)),
            Table("Tokens per row", _length_columns(found)),
            Table("Inputs of the model", notes=tuple(_inputs(found))),
        ),
        charts=(_histogram(found),),
        records=[_record(batch) for batch in found.batches],
    )


def _summary(found: Inspection) -> list[str]:
    cut = "no row" if not found.truncated else count(found.truncated, "row")
    limit = count(found.max_length, "token")
    lines = [f"{found.tokenizer}, {found.vocabulary:,} tokens; {cut} truncated at {limit}"]
    if found.stand_in_for is not None:
        lines.append(
            f"{found.checkpoint} is a stand-in for {found.stand_in_for}, which would give other tokens"
        )
    return lines


def _batch_columns(batches: Sequence[InspectedBatch]) -> tuple[Column, ...]:
    return (
        Column("padding", tuple(batch.padding for batch in batches), numeric=False),
        Column("order of rows", tuple(batch.order for batch in batches), numeric=False),
        Column("tokens of each row", tuple(_lengths(batch) for batch in batches), numeric=False),
        Column("shape", tuple(_shape(batch) for batch in batches)),
        Column("real tokens", tuple(_number(batch.real_tokens) for batch in batches)),
        Column("padded tokens", tuple(_number(_padded(batch)) for batch in batches)),
        Column("padded share", tuple(percent(_share(batch)) for batch in batches)),
    )


def _batch_notes(found: Inspection) -> list[str]:
    shuffled = f"training: the rows that the first epoch draws with seed {found.seed}"
    refused = [f"{batch.padding}: {batch.reason}" for batch in found.batches if batch.reason is not None]
    return ["file: consecutive rows, as a notebook slices them", shuffled, *refused]


def _lengths(batch: InspectedBatch) -> str:
    return f"[{', '.join(map(str, batch.lengths))}]" if batch.lengths else NOTHING


def _shape(batch: InspectedBatch) -> str:
    return NOTHING if batch.shape is None else f"{batch.shape[0]:,} x {batch.shape[1]:,}"


def _number(value: int | None) -> str:
    return NOTHING if value is None else f"{value:,}"


def _padded(batch: InspectedBatch) -> int | None:
    if batch.real_tokens is None or batch.computed_tokens is None:
        return None
    return batch.computed_tokens - batch.real_tokens


def _share(batch: InspectedBatch) -> float | None:
    padded = _padded(batch)
    return None if padded is None or not batch.computed_tokens else padded / batch.computed_tokens


def _example(one: Example) -> list[str]:
    length = len(one.tokens)
    cut = one.length_uncut - length
    return [
        *(f"{column}: {text}" for column, text in one.texts.items()),
        f"label: {one.label} ({one.label_name})",
        f"tokens: {' '.join(one.tokens)}",
        f"input_ids: {_list(one.input_ids)}",
        f"token_type_ids: {_runs(one.token_type_ids)}",
        f"attention_mask: {_runs(one.attention_mask)}",
        f"{count(length, 'token')}, {one.unknown_tokens:,} unknown ({percent(one.unknown_tokens / length)}), "
        + (f"truncated by {count(cut, 'token')}" if cut else "not truncated"),
    ]


def _list(values: Sequence[int]) -> str:
    return f"[{', '.join(map(str, values))}]"


def _runs(values: Sequence[int]) -> str:
    """Return equal neighbours as one entry: `0 x 22, 1 x 28`."""
    return ", ".join(f"{value} x {len(list(run))}" for value, run in groupby(values))


def _split_columns(found: Inspection) -> tuple[Column, ...]:
    splits = found.splits
    return (
        Column("split", tuple(split.split for split in splits), numeric=False),
        Column("rows", tuple(f"{split.rows:,}" for split in splits)),
        Column("tokens", tuple(f"{split.tokens:,}" for split in splits)),
        Column("shortest", tuple(f"{split.shortest:,}" for split in splits)),
        Column("mean", tuple(f"{split.mean:.1f}" for split in splits)),
        Column("longest", tuple(f"{split.longest:,}" for split in splits)),
        Column("unknown tokens", tuple(_unknown(split.unknown_share) for split in splits)),
    )


def _unknown(share: float | None) -> str:
    return NOTHING if share is None else f"{100 * share:.2f} %"


def _length_columns(found: Inspection) -> tuple[Column, ...]:
    rows = found.splits[0].rows
    return (
        Column("tokens", tuple(f"{each.least:,} to {each.most:,}" for each in found.lengths), numeric=False),
        Column("training rows", tuple(f"{each.train:,}" for each in found.lengths)),
        Column("share", tuple(percent(each.train / rows) for each in found.lengths)),
        Column("evaluation rows", tuple(f"{each.evaluation:,}" for each in found.lengths)),
    )


def _histogram(found: Inspection) -> Chart:
    most = max(found.lengths, key=lambda each: each.train)
    return Chart(
        name="lengths",
        title="Tokens per row of the training split",
        description=f"Most rows have {most.least:,} to {most.most:,} tokens",
        drawing=Bars(
            Axis("rows of the training split", "count"),
            tuple(Bar(f"{each.least:,} to {each.most:,}", (float(each.train),)) for each in found.lengths),
            ("rows",),
        ),
        repeats=True,
    )


def _inputs(found: Inspection) -> list[str]:
    model = found.model
    return [
        f"{model.name}.forward takes: {', '.join(model.parameters)}",
        f"it gets: {', '.join(model.columns)}, and labels",
        *([model.note] if model.note is not None else []),
    ]


def _record(batch: InspectedBatch) -> dict[str, Value]:
    rows, width = batch.shape or (None, None)
    return {
        "padding": batch.padding,
        "batch_size": batch.batch_size,
        "order": batch.order,
        "shape_rows": rows,
        "shape_tokens": width,
        "real_tokens": batch.real_tokens,
        "computed_tokens": batch.computed_tokens,
        "reason": batch.reason,
    }
