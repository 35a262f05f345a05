"""The real MRPC: recognised by its content in every layout, and anything else with its counts is labelled."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.assets.find_data import find_data
from harness.data.checking import check_data, plan_data, remarks_of
from harness.data.corpus import Corpus, DuplicateRows, count_duplicates
from harness.data.data_problems import InvalidDataError
from harness.data.mrpc import is_published
from harness.data.splits import read_corpus
from harness.model.assets import ResolvedData
from harness.model.tasks import Task
from tests.data.sets import GOOD, labelled, read_rows, resolved

pytestmark = pytest.mark.mrpc
GLUE = ("train.tsv", "dev.tsv")


def microsoft(folder: Path) -> ResolvedData:
    names = {
        "train": "msr_paraphrase_train.txt",
        "test": "msr_paraphrase_test.txt",
        "dev_ids": "dev_ids.tsv",
    }
    return resolved({split: folder / name for split, name in names.items()}, "microsoft")


def glue(folder: Path) -> ResolvedData:
    return find_data(Task(data_dir=str(folder)), "auto", note=lambda _: None)


def changed(mrpc_dir: Path, folder: Path, name: str, change: Callable[[list[bytes]], list[bytes]]) -> Path:
    """A copy of GLUE's files with the lines of one of them changed."""
    for file in GLUE:
        lines = (mrpc_dir / file).read_bytes().split(b"\n")
        (folder / file).write_bytes(b"\n".join(change(lines) if file == name else lines))
    return folder


def test_both_layouts_have_the_published_rows(mrpc_dir: Path) -> None:
    corpora = [read_corpus(Task(), glue(mrpc_dir)), read_corpus(Task(), microsoft(mrpc_dir))]
    for corpus in corpora:
        assert (len(corpus.train), len(corpus.evaluation)) == (3_668, 408)
        assert corpus.majority_share == pytest.approx(279 / 408)
        assert is_published(Task(), corpus)
        assert count_duplicates(corpus) == DuplicateRows(0, 0, 0)
        assert remarks_of(Task(), corpus) == []
    assert (
        corpora[0].train.texts[0][0].startswith('Amrozi accused his brother, whom he called "the witness", ')
    )
    assert corpora[0].content_sha256 == corpora[1].content_sha256


def test_checking_takes_a_fraction_of_a_second(mrpc_dir: Path) -> None:
    begun = time.process_time()
    assert plan_data(Task(data_dir=str(mrpc_dir)), "auto").endswith(
        "layout glue, 3,668 training and 408 evaluation examples, 2 classes"
    )
    # About 0.05 s on an idle machine.
    assert time.process_time() - begun < 0.3


def test_microsofts_test_split_can_be_evaluated_and_glues_has_no_labels(mrpc_dir: Path) -> None:
    task = Task(eval_split="test")
    assert is_published(task, read_corpus(task, microsoft(mrpc_dir)))
    with pytest.raises(
        InvalidDataError, match=r"test\.tsv has no column 'label'; it has sentence1, sentence2"
    ):
        read_corpus(task, glue(mrpc_dir))


def test_a_single_text_column_is_read_alone(mrpc_dir: Path) -> None:
    corpus = read_corpus(Task(text=("sentence2",)), glue(mrpc_dir))
    assert {len(texts) for texts in corpus.train.texts} == {1}
    assert is_published(Task(text=("sentence2",)), corpus) is None


def test_parquet_with_the_same_rows_in_another_order_is_the_published_data(
    mrpc_dir: Path, tmp_path: Path
) -> None:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    corpus = read_corpus(Task(), microsoft(mrpc_dir))
    files = {}
    for name, split in (("train", corpus.train), ("validation", corpus.evaluation)):
        first, second = zip(*split.texts, strict=True)
        files[name] = tmp_path / f"{name}.parquet"
        rows = {"sentence1": first[::-1], "sentence2": second[::-1], "label": split.labels[::-1]}
        pq.write_table(pa.table({key: list(values) for key, values in rows.items()}), files[name])
    assert is_published(Task(), read_corpus(Task(), resolved(files, "parquet")))


def swapped_labels(lines: list[bytes]) -> list[bytes]:
    return [
        lines[0],
        *(line.translate(bytes.maketrans(b"01", b"10"), b"") for line in lines[1:3]),
        *lines[3:],
    ]


def copied_row(lines: list[bytes]) -> list[bytes]:
    return [*lines[:2], lines[1], *lines[3:]]


def test_other_content_with_the_right_counts_is_used_with_a_remark(mrpc_dir: Path, tmp_path: Path) -> None:
    task = Task(data_dir=str(changed(mrpc_dir, tmp_path, "dev.tsv", copied_row)))
    notes: list[str] = []
    check_data(task, glue(tmp_path), note=notes.append)
    assert notes == [
        "glue/mrpc: these are not the published rows: do not compare their scores with published ones",
        "glue/mrpc: 1 of 408 evaluation examples repeats the texts of an earlier one",
    ]
    for note in notes:
        assert note.removeprefix("glue/mrpc: ") in plan_data(task, "auto")


def test_a_swapped_label_is_not_the_published_data(mrpc_dir: Path, tmp_path: Path) -> None:
    data = glue(changed(mrpc_dir, tmp_path, "train.tsv", swapped_labels))
    assert is_published(Task(), read_corpus(Task(), data)) is False


def test_wrong_counts_are_refused_for_both_splits_at_once(mrpc_dir: Path, tmp_path: Path) -> None:
    for file in GLUE:
        (tmp_path / file).write_bytes(b"\n".join((mrpc_dir / file).read_bytes().split(b"\n")[:-100]))
    with pytest.raises(InvalidDataError) as caught:
        read_corpus(Task(), glue(tmp_path))
    assert len(caught.value.problems) == 2
    assert "train.tsv: MRPC's train split has 3,668 examples, here are 3,5" in caught.value.problems[0]
    assert "dev.tsv: MRPC's validation split has 408 examples, here are 3" in caught.value.problems[1]


def remarks(corpus: Corpus) -> list[str]:
    return remarks_of(Task(dataset="owner/pairs", config=None), corpus)


def test_repeated_and_leaked_rows_are_counted(tmp_path: Path) -> None:
    train = [*labelled(0, 1, 0), {**labelled(0)[0], "y": 1}]
    corpus = read_rows(tmp_path, train, [*labelled(1), *GOOD, GOOD[0]])
    assert count_duplicates(corpus) == DuplicateRows(train=1, evaluation=1, leaked=1)
    assert remarks(corpus) == [
        "1 of 4 evaluation examples has the same texts as a training example: scores may be too high",
        "1 of 4 training examples repeats the texts of an earlier one",
        "1 of 4 evaluation examples repeats the texts of an earlier one",
    ]
    assert remarks(read_rows(tmp_path, labelled(0, 1), GOOD)) == []
