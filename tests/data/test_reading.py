"""Reading a data set: what is accepted, and the sentence for everything that is not."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.data.corpus import count_duplicates
from harness.data.data_problems import InvalidDataError
from harness.data.splits import read_corpus
from harness.model.tasks import Limit, Task
from tests.data.sets import GOOD, OWN, labelled, read_rows, resolved, write_jsonl, write_mrpc


def test_quotes_and_foreign_line_ends_are_text_and_a_byte_order_mark_is_not(tmp_path: Path) -> None:
    rows = ['1\t1\t2\t" open\tb', "0\t3\t4\tc\x85d \x0b e\tf"]
    task = Task(dataset="owner/pairs", config=None)
    for bom, end in ((False, "\n"), (True, "\r\n")):
        path = write_mrpc(tmp_path / "train.tsv", *rows, bom=bom, end=end)
        corpus = read_corpus(task, resolved({"train": path, "validation": path}, "glue"))
        assert corpus.train.texts == [('" open', "b"), ("c\x85d \x0b e", "f")]
        assert corpus.train.labels == [1, 0]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("1\t1\t2\tfour", r"train\.tsv:2: expected 5 tab-separated columns, found 4"),
        ("2\t1\t2\ta\tb", r"train\.tsv:2: column 'label': the label 2 is none of the data set's 2 classes"),
        ("x\t1\t2\ta\tb", r"train\.tsv:2: column 'label': the label 'x' is none"),
        ("1\t1\t2\t\tb", r"train\.tsv:2: column 'sentence1': the text is missing"),
    ],
)
def test_a_malformed_row_of_mrpc_is_named_by_its_line(tmp_path: Path, content: str, expected: str) -> None:
    path = write_mrpc(tmp_path / "train.tsv", content)
    data = resolved({"train": path, "validation": path}, "glue").model_copy(update={"synthetic": True})
    with pytest.raises(InvalidDataError, match=expected):
        read_corpus(Task(), data)


def test_bytes_that_are_not_utf8_are_named_by_their_place(tmp_path: Path) -> None:
    path = tmp_path / "train.tsv"
    path.write_bytes(b"Quality\n1\t1\t2\ta\xff\tb\n")
    with pytest.raises(InvalidDataError, match=r"train\.tsv:2: byte 8 of the line is not UTF-8"):
        read_corpus(Task(), resolved({"train": path, "validation": path}, "glue"))


def test_a_missing_split_lists_those_that_are_there_and_both_are_named(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "train.jsonl", *GOOD)
    with pytest.raises(InvalidDataError, match="no split 'validation'; there are train"):
        read_corpus(OWN, resolved({"train": path}))
    task = OWN.model_copy(update={"train_split": "x", "eval_split": "y"})
    with pytest.raises(InvalidDataError, match=r"(?s)no split 'x'.*no split 'y'"):
        read_corpus(task, resolved({"train": path}))


def test_the_problems_of_both_splits_are_reported_at_once(tmp_path: Path) -> None:
    wrong: list[dict[str, object]] = [{"a": None, "b": "y", "y": 0.5}, {"a": None, "b": 3, "y": 1}]
    with pytest.raises(InvalidDataError) as caught:
        read_rows(tmp_path, wrong, [{"a": "x", "b": "y", "y": None}])
    found = "\n".join(caught.value.problems)
    assert "train.jsonl:1: column 'a': expected a text, found null" in found
    assert "(and 1 more such row)" in found
    assert "train.jsonl:2: column 'b': expected a text, found the int 3" in found
    assert "train.jsonl:1: column 'y': the label 0.5 is no integer" in found
    assert "validation.jsonl:1: column 'y': the label is null" in found
    assert caught.value.exit_code == 2
    assert caught.value.hint


@pytest.mark.parametrize(
    ("labels", "names", "ids"),
    [
        ((0, 1, 0), ("0", "1"), [0, 1, 0]),
        ((1, 5, 2, 3, 4), ("1", "2", "3", "4", "5"), [0, 4, 1, 2, 3]),
        (("no", "yes", "no"), ("no", "yes"), [0, 1, 0]),
        (("10", "9"), ("10", "9"), [0, 1]),
        (("NA", "null"), ("NA", "null"), [0, 1]),
    ],
)
def test_class_ids_without_gaps_and_names_are_labels(
    tmp_path: Path, labels: tuple[object, ...], names: tuple[str, ...], ids: list[int]
) -> None:
    corpus = read_rows(tmp_path, labelled(*labels))
    assert (corpus.label_names, corpus.train.labels) == (names, ids)


@given(st.integers(0, 10**12), st.permutations(range(5)))
def test_ids_from_any_number_on_are_classes_from_zero(first: int, order: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        corpus = read_rows(Path(folder), labelled(*(first + at for at in order)))
    assert corpus.train.labels == order
    assert corpus.label_names == tuple(str(first + at) for at in range(5))


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ((5.0, 3.8), r"train\.jsonl:1: column 'y': the label 5\.0 is no integer"),
        ((0, 1.0), r"train\.jsonl:2: column 'y': the label 1\.0 is no integer"),
        ((0, True), r"train\.jsonl:2: column 'y': the label is true"),
        ((0, None), r"train\.jsonl:2: column 'y': the label is null"),
        ((0, [1]), r"train\.jsonl:2: column 'y': the label is a list"),
        ((0, {}), r"train\.jsonl:2: column 'y': the label is an object"),
        ((0, -1), r"train\.jsonl:2: column 'y': the label -1 is negative"),
        (
            (0, "yes"),
            r"train\.jsonl:2: column 'y': the label is the text 'yes' but the int 0 at train\.jsonl:1",
        ),
        ((1_000, 250_000), r"train\.jsonl:2: column 'y': the label 250000 leaves a gap after 1000"),
        ((900_000_000, 0), r"train\.jsonl:1: column 'y': the label 900000000 leaves a gap after 0"),
        ((10**30, 0), r"train\.jsonl:1: column 'y': the label 10* leaves a gap"),
        (("a", ""), r"train\.jsonl:2: column 'y': the label is an empty text"),
        (("yes", "yes "), r"train\.jsonl:2: column 'y': the label 'yes' has white space around it"),
        (("a", "\ud800"), r"train\.jsonl:2: column 'y': .* half a surrogate pair"),
        ((1, 1), r"train\.jsonl:1: column 'y': 1 is the single value of the training split"),
        (range(1_001), r"column 'y' has 1,001 classes, such as '0' and '1000'; at most 1,000 are accepted"),
    ],
)
def test_a_label_that_is_no_class_is_named_with_its_row(
    tmp_path: Path, labels: tuple[object, ...], expected: str
) -> None:
    with pytest.raises(InvalidDataError, match=expected):
        read_rows(tmp_path, labelled(*labels))


def test_the_suite_may_accept_more_classes(tmp_path: Path) -> None:
    corpus = read_rows(tmp_path, labelled(*range(1_001)), max_classes=1_001)
    assert len(corpus.label_names) == 1_001


def test_the_limit_of_classes_is_not_written_where_it_is_the_default() -> None:
    assert "max_classes" not in OWN.model_dump()
    assert OWN.model_copy(update={"max_classes": 5_000}).model_dump()["max_classes"] == 5_000


def test_a_label_that_only_the_evaluation_split_has_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        InvalidDataError, match=r"validation\.jsonl:2: .* label 2 is not in the training split"
    ):
        read_rows(tmp_path, labelled(0, 1), labelled(0, 2))


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"a": "x", "y": 1}, r"train\.jsonl:3: column 'b': the text is missing"),
        ({"a": "x", "b": ["y"], "y": 1}, r"train\.jsonl:3: column 'b': expected a text, found a list"),
        ({"a": "x", "b": True, "y": 1}, r"train\.jsonl:3: column 'b': expected a text, found true"),
        ({"a": "\ud800", "b": "y", "y": 1}, r"train\.jsonl:3: column 'a': .* half a surrogate pair"),
    ],
)
def test_a_text_that_is_none_is_named_with_its_row(
    tmp_path: Path, row: dict[str, object], expected: str
) -> None:
    with pytest.raises(InvalidDataError, match=expected):
        read_rows(tmp_path, [*GOOD, row], GOOD)


def test_a_label_that_is_a_text_of_the_model_too_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidDataError, match="column 'a' is a text and the label"):
        read_rows(tmp_path, labelled(0, 1), label="a")


def test_a_column_that_no_row_has_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidDataError, match=r"train\.jsonl has no column 'b'; it has a, y"):
        read_rows(tmp_path, [{"a": "x", "y": 1}, {"a": "x", "y": 0}])


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("validation.jsonl", "", r"split 'validation': validation\.jsonl is empty"),
        ("validation.csv", "a,b,y\n", r"split 'validation': validation\.csv has no rows"),
        ("validation.jsonl", "\0\0", r"validation\.jsonl:1: column 1: no JSON"),
        ("validation.jsonl", '{"a": 1}\n[1]', r"validation\.jsonl:2: expected a JSON object, found a list"),
        ("validation.jsonl", '{"a": 1, "a": 2}', r"validation\.jsonl:1: .*the key 'a' occurs twice"),
        ("validation.jsonl", "[" * 100_000, r"validation\.jsonl:1: "),
        ("validation.jsonl", '{"y": ' + "9" * 5_000 + "}", r"validation\.jsonl:1: "),
        ("validation.csv", "a,b,y,a\n1,2,0,3", r"validation\.csv:1: the header has 2 columns 'a'"),
        ("validation.parquet", "no parquet", r"validation\.parquet cannot be read as Parquet: "),
    ],
)
def test_an_empty_or_damaged_split_is_named_with_its_file(
    tmp_path: Path, name: str, content: str, expected: str
) -> None:
    train, validation = write_jsonl(tmp_path / "train.jsonl", *GOOD), tmp_path / name
    validation.write_text(content)
    with pytest.raises(InvalidDataError, match=expected) as caught:
        read_corpus(OWN, resolved({"train": train, "validation": validation}))
    assert caught.value.hint


def test_parts_are_read_in_order_and_a_row_is_named_by_its_part(tmp_path: Path) -> None:
    parts = [write_jsonl(tmp_path / f"train-0000{at}-of-00002.jsonl", row) for at, row in enumerate(GOOD)]
    corpus = read_corpus(OWN, resolved({"train": parts, "validation": parts[::-1]}))
    assert corpus.train.texts == [("x", "y"), ("p", "q")]
    assert corpus.evaluation.labels == [1, 0]
    write_jsonl(parts[1], {**GOOD[1], "a": 1})
    with pytest.raises(InvalidDataError, match=r"train-00001-of-00002\.jsonl:1: column 'a'"):
        read_corpus(OWN, resolved({"train": parts, "validation": parts[::-1]}))


def test_the_content_hash_changes_with_any_text_label_or_boundary(tmp_path: Path) -> None:
    variants = [
        GOOD,
        ({**GOOD[0], "a": "z"}, GOOD[1]),
        ({**GOOD[0], "y": 1}, {**GOOD[1], "y": 0}),
        ({**GOOD[0], "a": "xy", "b": ""}, GOOD[1]),
    ]
    assert len({read_rows(tmp_path, rows).content_sha256 for rows in variants}) == len(variants)
    assert read_rows(tmp_path, GOOD).content_sha256 == read_rows(tmp_path, GOOD).content_sha256


@pytest.mark.parametrize("name", ["train.jsonl", "train.csv", "train.tsv", "train.parquet"])
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (os.mkfifo, "is a named pipe, not a regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "is a device, not a regular file"),
    ],
    ids=["named pipe", "device"],
)
@pytest.mark.timeout(20)
def test_a_file_that_is_none_is_refused_and_never_waited_for(
    tmp_path: Path, name: str, make: Callable[[Path], None], said: str
) -> None:
    path = tmp_path / name
    make(path)
    with pytest.raises(InvalidDataError, match=rf"{name} cannot be read.*{said}"):
        read_corpus(OWN, resolved({"train": path, "validation": path}))


def test_a_sparse_file_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    with path.open("wb") as file:
        file.truncate(40 << 30)
    with pytest.raises(InvalidDataError, match="larger than 4096 MiB"):
        read_corpus(OWN, resolved({"train": path, "validation": path}))


@given(st.integers(2, 12), st.integers(2, 12), st.integers(1, 4))
def test_a_limit_keeps_the_first_rows_over_all_parts(train: int, evaluation: int, parts: int) -> None:
    rows = labelled(*(at % 2 for at in range(12)))
    with tempfile.TemporaryDirectory() as name:
        size = -(-len(rows) // parts)
        files = [
            write_jsonl(Path(name) / f"train-{part:05}.jsonl", *rows[part * size : (part + 1) * size])
            for part in range(parts)
        ]
        task = OWN.model_copy(update={"limit": Limit(train=train, eval=evaluation)})
        corpus = read_corpus(task, resolved({"train": files, "validation": files}))
    assert corpus.train.texts == [(f"a{at}", f"b{at}") for at in range(train)]
    assert corpus.train.labels == [at % 2 for at in range(train)]
    assert len(corpus.evaluation) == evaluation


def test_a_limit_of_one_split_leaves_the_other_whole_and_rows_beyond_it_unread(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [*labelled(0, 1), {"a": None, "b": "x", "y": "wrong"}]
    corpus = read_rows(tmp_path, rows, labelled(1, 0), limit=Limit(train=2))
    assert (len(corpus.train), len(corpus.evaluation)) == (2, 2)


def test_a_limit_beyond_the_rows_and_one_that_leaves_a_single_class_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InvalidDataError, match=r"task\.limit\.eval: 9 rows, but the split 'validation' has 2"
    ):
        read_rows(tmp_path, GOOD, limit=Limit(eval=9))
    with pytest.raises(InvalidDataError, match="0 is the single value of the training split"):
        read_rows(tmp_path, labelled(0, 0, 1), labelled(0), limit=Limit(train=2))
    with pytest.raises(InvalidDataError, match="both read the split 'train', so that train and eval must be"):
        read_rows(tmp_path, GOOD, eval_split="train", limit=Limit(train=2))


def test_a_limit_of_mrpc_still_needs_the_whole_files(mrpc_dir: Path, tmp_path: Path) -> None:
    task = Task(limit=Limit(train=100, eval=50))
    files = {"train": mrpc_dir / "train.tsv", "validation": mrpc_dir / "dev.tsv"}
    data = resolved(files, "glue")
    whole, limited = read_corpus(Task(), data), read_corpus(task, data)
    assert (limited.train.texts, len(limited.evaluation)) == (whole.train.texts[:100], 50)
    short = tmp_path / "train.tsv"
    short.write_text("".join(files["train"].read_text().splitlines(keepends=True)[:150]))
    with pytest.raises(InvalidDataError, match="MRPC's train split has 3,668 examples"):
        read_corpus(task, resolved({**files, "train": short}, "glue"))


def test_several_evaluation_splits_are_read_one_after_another(tmp_path: Path) -> None:
    task = OWN.model_copy(update={"eval_split": ("near", "far")})
    rows = labelled(0, 1, 1, 0)
    files = {
        "train": write_jsonl(tmp_path / "train.jsonl", *rows),
        "near": write_jsonl(tmp_path / "near.jsonl", *rows[:3]),
        "far": write_jsonl(tmp_path / "far.jsonl", rows[3], rows[3], rows[0]),
    }
    corpus = read_corpus(task, resolved(files))
    assert corpus.splits == {"near": 3, "far": 3}
    assert corpus.evaluation.labels == [0, 1, 1, 0, 0, 0]
    assert [split.labels for split in corpus.evaluations()] == [[0, 1, 1], [0, 0, 0]]
    assert corpus.majority_share == pytest.approx(2 / 3)
    duplicates = count_duplicates(corpus)
    assert (duplicates.train, duplicates.evaluation, duplicates.leaked) == (0, 1, 6)
    other = read_corpus(task.model_copy(update={"eval_split": ("far", "near")}), resolved(files))
    assert other.content_sha256 != corpus.content_sha256
    one = read_corpus(task.model_copy(update={"eval_split": "near"}), resolved(files))
    assert (one.splits, len(one.evaluation)) == ({}, 3)
    limited = read_corpus(task.model_copy(update={"limit": Limit(eval=2)}), resolved(files))
    assert limited.splits == {"near": 2, "far": 2}


def test_a_problem_of_a_further_evaluation_split_is_named_with_its_file(tmp_path: Path) -> None:
    task = OWN.model_copy(update={"eval_split": ("near", "far")})
    train = write_jsonl(tmp_path / "train.jsonl", *GOOD)
    unseen = write_jsonl(tmp_path / "far.jsonl", {"a": "x", "b": "y", "y": 2})
    with pytest.raises(InvalidDataError, match=r"far\.jsonl:1: column 'y': the label 2 is not in the train"):
        read_corpus(task, resolved({"train": train, "near": train, "far": unseen}))
    with pytest.raises(InvalidDataError, match="there is no split 'far'; there are train, near"):
        read_corpus(task, resolved({"train": train, "near": train}))
    wanted = task.model_copy(update={"limit": Limit(eval=2)})
    with pytest.raises(InvalidDataError, match=r"task\.limit\.eval: 2 rows, but the split 'far' has 1"):
        read_corpus(wanted, resolved({"train": train, "near": train, "far": unseen}))


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_part_without_rows_leaves_those_of_the_others(tmp_path: Path, place: int) -> None:
    header = "a,b,y\n"
    texts = [header + "x,y,0\np,q,1\n"] * 2
    texts.insert(place, header)
    parts = [tmp_path / f"{at}.csv" for at in range(3)]
    for part, text in zip(parts, texts, strict=True):
        part.write_text(text)
    found = read_corpus(OWN, resolved({"train": parts, "validation": parts}))
    assert found.train.labels == found.evaluation.labels == [0, 1, 0, 1]
    with pytest.raises(InvalidDataError, match="has no rows"):
        read_corpus(OWN, resolved({"train": parts[place : place + 1], "validation": parts}))
