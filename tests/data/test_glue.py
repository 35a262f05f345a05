"""The tasks of GLUE: short names, GLUE's own files, the Hub's files, and published sizes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.assets.find_data import find_data
from harness.data.checking import check_data
from harness.data.corpus import Corpus
from harness.data.data_problems import InvalidDataError
from harness.data.splits import read_corpus
from harness.errors import UnavailableError
from harness.model.tasks import GLUE, Task
from harness.suite.suite_file import parse_suite
from tests.assets.hub_layout import cache_repo

MATRIX = "matrix: {checkpoint: [a], padding: [dynamic], device: [cpu], seed: [0]}"
A, B = 'a "quoted start', 'b\'s; "end"'
# For each task: header of the training file (None: no header), a row for texts and label, header of the test.
FILES: dict[str, tuple[str | None, str, str]] = {
    "cola": (None, "gj04\t{y}\t*\t{a}", "index\tsentence"),
    "sst2": ("sentence\tlabel", "{a}\t{y}", "index\tsentence"),
    "qqp": (
        "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate",
        "1\t2\t3\t{a}\t{b}\t{y}",
        "id\tquestion1\tquestion2",
    ),
    "mnli": (
        "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\tsentence1_parse\t"
        "sentence2_parse\tsentence1\tsentence2\tlabel1\tgold_label",
        "0\t1\t1n\tfiction\t( x )\t( y )\t(ROOT x)\t(ROOT y)\t{a}\t{b}\tneutral\t{y}",
        "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\tsentence1_parse\t"
        "sentence2_parse\tsentence1\tsentence2",
    ),
    "qnli": ("index\tquestion\tsentence\tlabel", "0\t{a}\t{b}\t{y}", "index\tquestion\tsentence"),
    "rte": ("index\tsentence1\tsentence2\tlabel", "0\t{a}\t{b}\t{y}", "index\tsentence1\tsentence2"),
    "wnli": ("index\tsentence1\tsentence2\tlabel", "0\t{a}\t{b}\t{y}", "index\tsentence1\tsentence2"),
}
WORDS = {"mnli", "qnli", "rte"}


def task_of(name: str, *overrides: str) -> Task:
    return parse_suite(f"name: x\n{MATRIX}\ntask: glue/{name}", "suite.yaml", overrides).task


def write_tsv(path: Path, name: str, labels: Sequence[int], *extra: str) -> None:
    header, row, _ = FILES[name]
    lines = [] if header is None else [header]
    for at, label in enumerate(labels):
        word = GLUE[name].labels[label] if name in WORDS else label
        lines.append(row.format(a=f"{A} {path.stem} {at}", b=f"{B} {path.stem} {at}", y=word))
    path.write_text("\n".join([*lines, *extra, ""]))


def glue_folder(folder: Path, name: str) -> Path:
    """GLUE's files of a task: a training row and an evaluation row of every class, and a test row."""
    classes = range(len(GLUE[name].labels))
    kinds = ("_matched", "_mismatched") if name == "mnli" else ("",)
    folder.mkdir(parents=True, exist_ok=True)
    write_tsv(folder / "train.tsv", name, classes)
    for kind in kinds:
        write_tsv(folder / f"dev{kind}.tsv", name, classes)
        header = FILES[name][2]
        row = "\t".join(["0", *["x"] * header.count("\t")])
        (folder / f"test{kind}.tsv").write_text(f"{header}\n{row}\n")
    return folder


def read(folder: Path, name: str, *overrides: str) -> Corpus:
    task = task_of(name, f"task.data_dir={folder}", *overrides)
    data = find_data(task, "auto", note=lambda _: None)
    assert data.layout == "glue"
    return read_corpus(task, data)


def test_mrpc_is_the_default_task() -> None:
    assert task_of("mrpc") == Task()
    assert all(task_of(name).name == f"glue/{name}" for name in GLUE)


def test_a_mapping_takes_what_it_leaves_out_from_its_task_of_glue() -> None:
    suite = parse_suite(f"name: x\n{MATRIX}\ntask: {{config: mnli, max_length: 64}}", "suite.yaml")
    assert suite.task == task_of("mnli", "task.max_length=64")
    assert suite.task.text == ("premise", "hypothesis")
    assert task_of("mrpc", "task.config=cola") == task_of("cola")
    assert task_of("cola", "task.text=[other]").text == ("other",)


@pytest.mark.parametrize("name", FILES)
def test_glues_own_files_are_read(tmp_path: Path, name: str) -> None:
    corpus = read(glue_folder(tmp_path, name), name)
    count = len(GLUE[name].labels)
    assert corpus.label_names == GLUE[name].labels
    assert corpus.train.labels == corpus.evaluation.labels == list(range(count))
    due = (f"{A} train 0", f"{B} train 0")[: len(GLUE[name].text)]
    assert corpus.train.texts[0] == due


@pytest.mark.parametrize("name", FILES)
def test_a_test_set_without_labels_is_refused(tmp_path: Path, name: str) -> None:
    split = "test_matched" if name == "mnli" else "test"
    with pytest.raises(InvalidDataError, match=r"no column 'label'.*GLUE's test sets have no labels"):
        read(glue_folder(tmp_path, name), name, f"task.eval_split={split}")


def test_mismatched_mnli_is_another_split(tmp_path: Path) -> None:
    corpus = read(glue_folder(tmp_path, "mnli"), "mnli", "task.eval_split=validation_mismatched")
    assert corpus.evaluation.texts[0][0] == f"{A} dev_mismatched 0"


@pytest.mark.parametrize(
    ("name", "line", "expected"),
    [
        ("sst2", "one\t1\tmore", r"train\.tsv:4: expected 2 tab-separated columns, found 3"),
        ("cola", "gj04\t1\t*", r"train\.tsv:3: expected 4 tab-separated columns, found 3"),
        ("cola", "gj04\t2\t*\tx", r"train\.tsv:3: .*the label 2 is none of the data set's 2 classes"),
        ("rte", "0\ta\tb\tneutral", r"train\.tsv:4: .*the label 'neutral' is none"),
        ("rte", "0\t\tb\tentailment", r"train\.tsv:4: column 'sentence1': the text is missing"),
        ("qqp", "0\t1\t2\ta\tb\t0\tc", r"train\.tsv:4: expected 6 tab-separated columns, found 7"),
        ("qqp", "0\t1\t2\ta\tb\t", r"train\.tsv:4: column 'label': the label is missing"),
    ],
)
def test_a_broken_row_is_named_by_its_line(tmp_path: Path, name: str, line: str, expected: str) -> None:
    folder = glue_folder(tmp_path, name)
    write_tsv(folder / "train.tsv", name, (0, 1), line)
    with pytest.raises(InvalidDataError, match=expected):
        read(folder, name)


def test_a_header_of_another_file_is_refused(tmp_path: Path) -> None:
    folder = glue_folder(tmp_path, "rte")
    (folder / "train.tsv").write_text("a\tb\n1\t2\n")
    with pytest.raises(InvalidDataError, match=r"train\.tsv:1: expected a header with the columns sentence1"):
        read(folder, "rte")


def test_cut_rows_of_qqp_are_left_out_and_counted_and_empty_questions_kept(tmp_path: Path) -> None:
    folder = glue_folder(tmp_path, "qqp")
    write_tsv(folder / "train.tsv", "qqp", (0, 1), "5\t6\t7\tbroken by a line end", "8\t9\t10\t\tb\t0")
    corpus = read(folder, "qqp")
    assert corpus.train.labels == [0, 1, 0]
    assert corpus.train.texts[2] == ("", "b")
    assert corpus.left_out == 1
    notes: list[str] = []
    task = task_of("qqp", f"task.data_dir={folder}")
    check_data(task, find_data(task, "auto", note=notes.append), note=notes.append)
    assert "glue/qqp: 1 row with missing cells left out of the files, as in the published data set" in notes
    assert "glue/qqp: the train split has 3 examples, the published one 363,846" in notes
    assert "glue/qqp: these are not the published rows: do not compare their scores with published ones" in (
        notes
    )


def test_published_sizes_pass_without_a_remark(tmp_path: Path) -> None:
    folder = glue_folder(tmp_path, "wnli")
    for file, rows in (("train", 635), ("dev", 71)):
        write_tsv(folder / f"{file}.tsv", "wnli", [at % 2 for at in range(rows)])
    notes: list[str] = []
    task = task_of("wnli", f"task.data_dir={folder}")
    check_data(task, find_data(task, "auto", note=notes.append), note=notes.append)
    assert notes == []


def test_half_of_glues_files_are_not_read_as_other_files(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text("sentence\tlabel\na\t0\n")
    with pytest.raises(UnavailableError, match="no known layout") as error:
        read(tmp_path, "sst2")
    assert "glue/sst2: train.tsv, dev.tsv, test.tsv" in (error.value.hint or "")


def test_data_outside_of_glue_has_no_stand_in() -> None:
    with pytest.raises(UnavailableError, match="no embedded stand-in"):
        find_data(Task(dataset="owner/pairs", config=None), "embedded", note=lambda _: None)


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    return tmp_path / "hf" / "hub"


@pytest.mark.parametrize("name", [name for name in GLUE if name not in ("mrpc", "stsb")])
def test_the_hubs_files_are_read(hub_cache: Path, tmp_path: Path, name: str) -> None:
    known, task = GLUE[name], task_of(name)
    files = {}
    for split in ("train", task.eval_split):
        content = hub_parquet(tmp_path / "one.parquet", name)
        files[f"{name}/{split}-00000-of-00001.parquet"] = content
    cache_repo(hub_cache, "datasets--nyu-mll--glue", files)
    corpus = read_corpus(task, find_data(task, "hub", note=lambda _: None))
    assert corpus.label_names == known.labels
    assert corpus.train.labels == list(range(len(known.labels)))
    assert {len(texts) for texts in corpus.train.texts} == {len(known.text)}


def hub_parquet(path: Path, name: str, labels: tuple[str, ...] | None = None) -> bytes:
    """A Parquet file as the Hub has it, its classes declared in the metadata of `datasets`."""
    datasets = pytest.importorskip("datasets")
    known = GLUE[name]
    names = known.labels if labels is None else labels
    rows = range(len(known.labels))
    features = {column: datasets.Value("string") for column in known.text}
    features |= {"label": datasets.ClassLabel(names=list(names)), "idx": datasets.Value("int32")}
    table = {column: [f"{column} {at}" for at in rows] for column in known.text}
    datasets.Dataset.from_dict(
        {**table, "label": list(rows), "idx": list(rows)}, features=datasets.Features(features)
    ).to_parquet(path)
    return path.read_bytes()


def test_other_declared_classes_are_refused(hub_cache: Path, tmp_path: Path) -> None:
    content = hub_parquet(tmp_path / "one.parquet", "rte", ("not_entailment", "entailment"))
    files = {f"rte/{split}-00000-of-00001.parquet": content for split in ("train", "validation")}
    cache_repo(hub_cache, "datasets--nyu-mll--glue", files)
    with pytest.raises(InvalidDataError, match="RTE's classes are entailment, not_entailment, the files"):
        read_corpus(task_of("rte"), find_data(task_of("rte"), "hub", note=lambda _: None))
