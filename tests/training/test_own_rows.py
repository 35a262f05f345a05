"""A trial's rows and tokens: those of its files, in every layout, or the trial fails."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.data.corpus import Corpus, Split, make_corpus
from harness.data.splits import read_corpus
from harness.model.assets import ResolvedData
from harness.model.job import Job, TrialStoppedError
from harness.model.tasks import Limit, Task
from harness.training import loading
from harness.training.describing import describe_data
from harness.training.loading import load_corpus
from harness.training.proofs.own_rows import check_rows
from harness.training.run_trial import run_trial
from harness.training.tokenizing.tokens import Tokenized, tokenize
from tests.data.sets import HEADER, OWN, resolved, write_jsonl
from tests.training.conftest import MakeJob, quietly, sentence_pairs

pytestmark = pytest.mark.heavy

Read = tuple[Job, Corpus, Tokenized]
MNLI = Task(
    config="mnli",
    text=("premise", "hypothesis"),
    eval_split=("validation_matched", "validation_mismatched"),
)
CSV = Task(dataset="owner/pairs", config=None, text=("a", "b"), label="y")


def read(make_job: MakeJob, task: Task, data: ResolvedData, max_length: int = 64) -> Read:
    job = make_job(task=task).model_copy(update={"data": data})
    corpus = load_corpus(task, data)
    return job, corpus, tokenize(corpus, Path(job.checkpoint.path), max_length, Path(job.cache_dir))


def check(job: Job, corpus: Corpus, tokens: Tokenized) -> None:
    check_rows(job, corpus, tokens, describe_data(job, corpus, tokens))


def csv_files(folder: Path) -> tuple[Task, ResolvedData]:
    """Two parts of training rows with quotes, line breaks and blank lines, and classes named out of order."""
    rows = [
        [pair["sentence1"], f'"{pair["sentence2"]}"\nagain', ("yes", "maybe", "no")[at % 3]]
        for at, pair in enumerate(sentence_pairs(30, seed=1))
    ]
    names = ("train-00000-of-00002.csv", "train-00001-of-00002.csv", "validation.csv")
    for name, part in zip(names, (rows[:9], rows[9:20], rows[20:]), strict=True):
        with (folder / name).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([["b", "extra", "y", "a"], *([b, "x", y, a] for a, b, y in part), []])
    train, evaluation = [folder / name for name in names[:2]], folder / names[2]
    return CSV, resolved({"train": train, "validation": evaluation})


def jsonl_files(folder: Path) -> tuple[Task, ResolvedData]:
    """Class numbers from 1, a line separator inside of a text, and keys in another order."""
    for name, count, seed in (("train", 20, 1), ("validation", 8, 2)):
        pairs = sentence_pairs(count, seed)
        rows = [
            {"y": 3 - at % 3, "b": f"{pair['sentence2']}\u2028the ", "a": pair["sentence1"]}
            for at, pair in enumerate(pairs)
        ]
        write_jsonl(folder / f"{name}.jsonl", *rows)
    return OWN, resolved({name: folder / f"{name}.jsonl" for name in ("train", "validation")})


def parquet_files(folder: Path) -> tuple[Task, ResolvedData]:
    """Declared class names that are not in the order of their letters, and a limit within the second part."""
    from datasets import ClassLabel, Dataset, Features, Value  # noqa: PLC0415 - collected without it

    text = Value("string")
    features = Features({"a": text, "b": text, "y": ClassLabel(names=["same", "other"])})
    names = ("train-00000-of-00002.parquet", "train-00001-of-00002.parquet", "validation.parquet")
    for seed, name in enumerate(names):
        pairs = sentence_pairs(12, seed)
        columns = {
            "a": [pair["sentence1"] for pair in pairs],
            "b": [pair["sentence2"] for pair in pairs],
            "y": [at % 2 for at in range(12)],
        }
        Dataset.from_dict(columns, features=features).to_parquet(folder / name)
    data = resolved({"train": [folder / name for name in names[:2]], "validation": folder / names[2]})
    return CSV.model_copy(update={"limit": Limit(train=17, eval=9)}), data


def mnli_files(folder: Path) -> tuple[Task, ResolvedData]:
    names = ("entailment", "neutral", "contradiction")
    files = {
        "train": "train.tsv",
        "validation_matched": "dev_matched.tsv",
        "validation_mismatched": "dev_mismatched.tsv",
    }
    for seed, (split, name) in enumerate(files.items()):
        rows = [
            f'{at}\t{pair["sentence1"]}\t"{pair["sentence2"]}\t{names[-at % 3]}\t{names[at % 3]}'
            for at, pair in enumerate(sentence_pairs(16 if split == "train" else 7 + seed, seed))
        ]
        (folder / name).write_text("\n".join(["index\tsentence1\tsentence2\tlabel1\tgold_label", *rows, ""]))
    return MNLI, resolved({split: folder / name for split, name in files.items()}, "glue")


def microsoft_files(folder: Path) -> tuple[Task, ResolvedData]:
    task = Task(dataset="owner/pairs", config=None)
    rows = [
        f"{pair['label']}\t{at}\t{100 + at}\t{pair['sentence1']}\t{pair['sentence2']}"
        for at, pair in enumerate(sentence_pairs(24, seed=1))
    ]
    (folder / "msr_paraphrase_train.txt").write_text("\n".join([HEADER, *rows]))
    (folder / "dev_ids.tsv").write_text("\n".join(f"{at}\t{100 + at}" for at in range(0, 24, 3)))
    names = {"train": "msr_paraphrase_train.txt", "dev_ids": "dev_ids.tsv"}
    return task, resolved({split: folder / name for split, name in names.items()}, "microsoft")


def regression_files(folder: Path) -> tuple[Task, ResolvedData]:
    for name, count in (("train", 20), ("validation", 9)):
        rows = [f"{pair['sentence1']},{at / 7:.3f}" for at, pair in enumerate(sentence_pairs(count, count))]
        (folder / f"{name}.csv").write_text("\n".join(["a,y", *rows, ""]))
    task = OWN.model_copy(update={"kind": "regression", "text": ("a",)})
    return task, resolved({name: folder / f"{name}.csv" for name in ("train", "validation")})


FILES = [csv_files, jsonl_files, parquet_files, mnli_files, microsoft_files, regression_files]


@pytest.mark.parametrize("write", FILES)
@pytest.mark.parametrize("max_length", [64, 12])
def test_rows_of_every_layout_are_those_of_their_files(
    write: Callable[[Path], tuple[Task, ResolvedData]], max_length: int, make_job: MakeJob, tmp_path: Path
) -> None:
    job, corpus, tokens = read(make_job, *write(tmp_path), max_length)
    assert max_length == 64 or tokens.truncated
    check(job, corpus, tokens)


def again(corpus: Corpus, train: Split, evaluation: Split, names: tuple[str, ...] = ()) -> Corpus:
    return make_corpus(train, {"validation": evaluation}, names or corpus.label_names)


def swapped(split: Split) -> Split:
    return Split([texts[::-1] for texts in split.texts], split.labels)


def without_last(split: Split) -> Split:
    return Split(split.texts[:-1], split.labels[:-1])


def other_labels(split: Split) -> Split:
    return Split(split.texts, [int(label != 1) for label in split.labels])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda c: again(c, swapped(c.train), c.evaluation), "row 1 of split 'train' has other texts"),
        (lambda c: again(c, c.train, c.train), "row 1 of split 'validation' has other texts"),
        (lambda c: again(c, without_last(c.train), c.evaluation), "row 20 of split 'train' is missing"),
        (lambda c: again(c, c.train, other_labels(c.evaluation)), "'validation' has another label"),
        (lambda c: again(c, c.train, c.evaluation, ("yes", "no", "maybe")), "due maybe, no, yes"),
        (lambda c: replace(c, content_sha256="0" * 64), "content_sha256 is 000000000000, due"),
    ],
)
def test_rows_that_are_not_those_of_their_files_fail(
    spoil: Callable[[Corpus], Corpus], said: str, make_job: MakeJob, tmp_path: Path
) -> None:
    task, data = csv_files(tmp_path)
    job = make_job(task=task).model_copy(update={"data": data})
    corpus = spoil(load_corpus(task, data))
    tokens = tokenize(corpus, Path(job.checkpoint.path), 64, Path(job.cache_dir))
    with pytest.raises(TrialStoppedError, match=f"has other data than its files: .*{said}"):
        check(job, corpus, tokens)


def test_parts_of_a_split_that_are_not_read_fail(make_job: MakeJob, tmp_path: Path) -> None:
    task, data = csv_files(tmp_path)
    half = data.model_copy(update={"files": data.files | {"train": data.files["train"][1:]}})
    with pytest.raises(TrialStoppedError, match=r"split 'train' is read from train-00001-of-00002\.csv"):
        check(*read(make_job, task, half))


def test_a_split_read_from_the_file_of_another_fails(make_job: MakeJob, tmp_path: Path) -> None:
    task, data = mnli_files(tmp_path)
    files = data.files | {"validation_matched": data.files["validation_mismatched"]}
    with pytest.raises(TrialStoppedError, match=r"dev_mismatched\.tsv, due dev_matched\.tsv"):
        check(*read(make_job, task, data.model_copy(update={"files": files})))


def cut_shorter(job: Job, corpus: Corpus) -> Tokenized:
    """As from a cache that forgets the truncation length."""
    cut = tokenize(corpus, Path(job.checkpoint.path), 12, Path(job.cache_dir))
    return replace(cut, max_length=64)


def another_row_s(job: Job, corpus: Corpus) -> Tokenized:
    tokens = tokenize(corpus, Path(job.checkpoint.path), 64, Path(job.cache_dir))
    ids = tokens.evaluation.input_ids.copy()
    ids[tokens.evaluation.offsets[-2] :] = ids[tokens.evaluation.offsets[-2]]
    return replace(tokens, evaluation=replace(tokens.evaluation, input_ids=ids))


def all_types_zero(job: Job, corpus: Corpus) -> Tokenized:
    tokens = tokenize(corpus, Path(job.checkpoint.path), 64, Path(job.cache_dir))
    types = np.zeros_like(tokens.train.token_type_ids)
    return replace(tokens, train=replace(tokens.train, token_type_ids=types))


@pytest.mark.parametrize("spoil", [cut_shorter, another_row_s, all_types_zero])
def test_tokens_that_are_not_those_of_the_texts_fail(
    spoil: Callable[[Job, Corpus], Tokenized], make_job: MakeJob, tmp_path: Path
) -> None:
    job, corpus, _ = read(make_job, *csv_files(tmp_path))
    with pytest.raises(TrialStoppedError, match="rows have other tokens or labels than their texts give"):
        check(job, corpus, spoil(job, corpus))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"truncated": 0}, "truncated is 0, due 30"),
        ({"mean_length": 9.5}, "mean_length is 9.5, due"),
        ({"duplicates": None}, r"duplicates is None, due \(0, 0, 0\)"),
        ({"eval_majority_share": 0.9}, "eval_majority_share is 0.9, due 0.4"),
        ({"files_sha256": "0" * 64}, "files_sha256 is 000000000000, due"),
    ],
)
def test_a_description_of_other_data_fails(
    changes: dict[str, Any], said: str, make_job: MakeJob, tmp_path: Path
) -> None:
    job, corpus, tokens = read(make_job, *csv_files(tmp_path), max_length=12)
    described = describe_data(job, corpus, tokens).model_copy(update=changes)
    with pytest.raises(TrialStoppedError, match=said):
        check_rows(job, corpus, tokens, described)


def test_truncated_rows_are_counted_again(make_job: MakeJob, tmp_path: Path) -> None:
    job, corpus, tokens = read(make_job, *csv_files(tmp_path), max_length=12)
    more = replace(tokens, truncated=tokens.truncated - 1)
    with pytest.raises(TrialStoppedError, match="rows count as truncated, due"):
        check(job, corpus, more)


@pytest.mark.parametrize("purpose", ["train", "prove"])
def test_a_trial_on_other_rows_than_its_files_fails(
    purpose: str, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    def swap(task: Task, data: ResolvedData) -> Corpus:
        corpus = read_corpus(task, data)
        return again(corpus, swapped(corpus.train), corpus.evaluation)

    monkeypatch.setattr(loading, "read_corpus", swap)
    job = make_job(engine="loop").model_copy(update={"purpose": purpose})
    with pytest.raises(TrialStoppedError, match="row 1 of split 'train' has other texts than its file"):
        run_trial(job, quietly)
