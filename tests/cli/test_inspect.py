"""`harness inspect`: the course's batch, hostile rows as text, every format, errors without a traceback."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.assets.packages import packaged_folder
from harness.errors import InvalidInputError, UnavailableError
from harness.model.inspection import Inspection, InspectionAnswer, InspectionRequest
from harness.output.builders.inspected_data import inspection_document
from harness.output.formats.known_formats import render
from harness.running.preflight import RealAssets
from harness.running.workers.inspection_process import Wanted, inspect_suite
from harness.running.workers.scoring_process import inspect_data
from harness.suite.suite_file import read_suite
from tests.running.fakes import environ, forked

ROOT = Path(__file__).parents[2]
SUITE = str(ROOT / "suites" / "padding.yaml")
MRPC = Path(environ().get("HARNESS_MRPC_DIR", "/nowhere"))


def inspected(*arguments: str) -> Inspection:
    """What the command prints."""
    done = forked("inspect", SUITE, "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return Inspection.model_validate_json(done.stdout)


def inspected_here(*overrides: str, wanted: Wanted = Wanted(), suite: str = SUITE) -> Inspection:  # noqa: B008 - frozen
    """The same with the embedded assets, without a process that imports torch for each inspection."""
    from harness.training.processes.inspecting import answer  # noqa: PLC0415 - collected without torch

    return inspect_suite(
        read_suite(Path(suite), overrides),
        RealAssets("embedded"),
        wanted=wanted,
        note=lambda _text: None,
        inspector=answer,
    )


@pytest.fixture(scope="module")
def embedded() -> Inspection:
    return inspected("--assets", "embedded", "--example", "3", "--batch", "1")


def test_each_batch_is_counted_from_its_own_lengths(embedded: Inspection) -> None:
    assert len(embedded.batches) == 8, "four paddings in two orders"
    for batch in embedded.batches:
        assert batch.shape is not None
        assert batch.real_tokens == sum(batch.lengths)
        assert batch.computed_tokens == batch.shape[0] * batch.shape[1]
        widest = max(batch.lengths)
        longest = max(split.longest for split in embedded.splits)
        if batch.padding == "unpadded":
            assert batch.shape == (1, -(-sum(batch.lengths) // 16) * 16)
        else:
            assert batch.shape == (8, longest if batch.padding == "static" else widest)
    assert [batch.rows for batch in embedded.batches if batch.order == "file"] == [tuple(range(8, 16))] * 4


def test_the_example_is_tokenized_and_nothing_is_lost(embedded: Inspection) -> None:
    example = embedded.example
    assert example.row == 3
    assert list(example.texts) == ["sentence1", "sentence2"]
    assert example.tokens[0] == "[CLS]"
    assert example.tokens.count("[SEP]") == 2
    assert len({len(example.tokens), len(example.input_ids), len(example.token_type_ids)}) == 1
    assert example.attention_mask == (1,) * len(example.tokens)
    assert set(example.token_type_ids) == {0, 1}
    assert embedded.stand_in_for == "bert-base-uncased"


def test_the_histogram_counts_every_row_once(embedded: Inspection) -> None:
    train, evaluation = embedded.splits
    assert sum(each.train for each in embedded.lengths) == train.rows
    assert sum(each.evaluation for each in embedded.lengths) == evaluation.rows
    assert embedded.lengths[0].least <= min(train.shortest, evaluation.shortest) <= embedded.lengths[0].most
    assert embedded.lengths[-1].least <= max(train.longest, evaluation.longest) <= embedded.lengths[-1].most


@pytest.mark.parametrize("ending", ["md", "html", "json", "csv", "txt"])
def test_every_format_of_a_file_has_the_batches(embedded: Inspection, ending: str) -> None:
    names = {"md": "markdown", "txt": "table"}
    shown = render(inspection_document(embedded), names.get(ending, ending))
    assert "unpadded" in shown
    assert all(str(batch.real_tokens) in shown for batch in embedded.batches)


def test_a_model_without_token_types_is_noted_and_a_long_row_is_truncated() -> None:
    found = inspected_here("task.max_length=16", wanted=Wanted("distilbert-base-uncased"))
    assert "token_type_ids" not in found.model.parameters
    assert found.model.note is not None
    assert found.truncated > 0
    assert len(found.example.tokens) == 16 < found.example.length_uncut
    assert "truncated by" in render(inspection_document(found), "markdown")


def test_a_padding_that_is_too_short_has_its_reason_in_its_row() -> None:
    found = inspected_here("matrix.padding=[{strategy: static, length: 8}, dynamic]")
    refused, *others = found.batches
    assert refused.reason is not None
    assert "shorter than the longest example" in refused.reason
    assert all(batch.reason is None for batch in others)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [(Wanted(example=1_000_000), "train' has"), (Wanted(batch=1_000_000), "batches of 8")],
    ids=["row", "batch"],
)
def test_a_row_or_a_batch_beyond_the_end_is_an_error_that_names_the_range(
    wanted: Wanted, message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message) as caught:
        inspected_here(wanted=wanted)
    assert caught.value.exit_code == 2
    assert "from 0 to" in (caught.value.hint or "")


def test_hostile_rows_stay_text(tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script> \x1b[31mred ::error::x \u202e | [l](http://evil)"
    rows = [{"a": f"{hostile} {i}", "label": i % 2} for i in range(20)]
    for split in ("train", "validation"):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / f"{split}.jsonl").write_text(text, encoding="utf-8")
    suite = tmp_path / "own.yaml"
    suite.write_text(
        f"name: own\ntask: {{dataset: own, config: null, data_dir: {tmp_path}, text: [a]}}\n"
        "matrix: {checkpoint: [embedded/bert-uncased], padding: [dynamic], device: [cpu]}\n"
    )
    document = inspection_document(inspected_here(suite=str(suite)))
    for name in ("table", "markdown", "html", "json"):
        shown = render(document, name)
        assert "\x1b" not in shown
        assert "\u202e" not in shown
        assert "::error::" not in shown
        assert name != "html" or "<script>" not in shown


@pytest.mark.skipif(
    not MRPC.is_dir() or packaged_folder("minilm") is None, reason="needs MRPC and the minilm checkpoint"
)
def test_the_first_eight_rows_of_mrpc_are_those_of_the_course() -> None:
    found = inspected("--checkpoint", "minilm", "-s", "matrix.padding=[dynamic]")
    first = found.batches[0]
    assert (first.lengths, first.shape) == ((50, 59, 47, 67, 59, 50, 62, 32), (8, 67))


def test_an_inspector_without_an_answer_is_named() -> None:
    def request() -> InspectionRequest:
        asked: list[InspectionRequest] = []

        def keep(one: InspectionRequest) -> InspectionAnswer:
            asked.append(one)
            return InspectionAnswer(reason="kept")

        with pytest.raises(Exception, match="kept"):
            inspect_suite(
                read_suite(Path(SUITE), ()),
                RealAssets("embedded"),
                wanted=Wanted(),
                note=lambda _text: None,
                inspector=keep,
            )
        return asked[0]

    with pytest.raises(UnavailableError, match="inspector of the data ended with exit code 1"):
        inspect_data(request(), "tests.no_such_module")
