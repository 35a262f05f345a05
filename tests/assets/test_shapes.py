"""The embedded corpora in the shapes of GLUE's tasks."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from harness.assets.embedded import EMBEDDED_CORPORA, corpus_files
from harness.assets.find_data import find_data
from harness.data.data_problems import InvalidDataError
from harness.data.splits import read_corpus
from harness.errors import UnavailableError
from harness.model.tasks import GLUE, Task
from harness.store.reading import load_report
from tests.running.fakes import environ
from tests.suite.suite_texts import MATRIX
from tools.embedded.shapes import SHAPES, generate

SUITE = f"""\
name: stsb
{MATRIX}
task: glue/stsb
train: {{num_train_epochs: 2, per_device_train_batch_size: 16, learning_rate: 5e-4}}
measure: {{warmup_steps: 1}}
"""


def task_of(config: str, **changes: str) -> Task:
    return Task(config=config, **(GLUE[config].defaults | changes))


@pytest.mark.parametrize("shape", SHAPES)
def test_the_files_in_the_package_are_those_of_the_generator(shape: str) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    corpus = generate(shape)
    assert generate(shape, seed=1) != corpus
    files = corpus_files(f"embedded/{shape}")
    assert files.keys() == corpus.keys()
    for split, (file,) in files.items():
        table = parquet.read_table(file)
        assert table.column_names == [*SHAPES[shape][0], "idx"]
        rows = [tuple(row.values())[:-1] for row in table.to_pylist()]
        assert [row[:-1] for row in rows] == [row[:-1] for row in corpus[split]]
        assert [row[-1] for row in rows] == pytest.approx([row[-1] for row in corpus[split]])
        assert Path(file).stat().st_size < 100_000
    texts = [row[:-1] for rows in corpus.values() for row in rows]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize(
    ("config", "corpus", "classes"),
    [
        ("cola", "sentences", 2),
        ("sst2", "sentences", 2),
        ("mrpc", "pairs", 2),
        ("qqp", "pairs", 2),
        ("qnli", "pairs", 2),
        ("rte", "pairs", 2),
        ("wnli", "pairs", 2),
        ("mnli", "entailment", 3),
        ("stsb", "similarity", 0),
    ],
)
def test_a_task_of_glue_gets_the_corpus_of_its_shape(config: str, corpus: str, classes: int) -> None:
    pytest.importorskip("pyarrow")
    notes: list[str] = []
    task = task_of(config)
    data = find_data(task, "embedded", note=notes.append)
    assert (data.requested, data.name) == (f"glue/{config}", f"embedded/{corpus}")
    assert (data.source, data.synthetic) == ("embedded", True)
    assert f"glue/{config}: using the embedded synthetic corpus" in notes[0]
    assert f"not those of {config.upper()}" in notes[0]
    for labels in (
        read.labels for found in [read_corpus(task, data)] for read in (found.train, found.evaluation)
    ):
        if classes:
            shares = [number / len(labels) for number in Counter(labels).values()]
            assert len(shares) == classes
            assert max(shares) < 1 / classes + 0.2
        else:
            assert 0 <= min(labels) < 0.5
            assert 4.5 < max(labels) <= 5
            assert max(Counter(labels).values()) < len(labels) / 5


def test_the_stand_in_of_a_task_with_other_columns_has_the_texts_of_the_corpus() -> None:
    pytest.importorskip("pyarrow")
    mrpc, qnli = (
        read_corpus(task, find_data(task, "embedded", note=lambda _: None))
        for task in (task_of("mrpc"), task_of("qnli"))
    )
    assert qnli.train.texts == mrpc.train.texts
    assert qnli.label_names == ("entailment", "not_entailment")
    wrong = task_of("qnli").model_copy(update={"text": ("question", "answer")})
    with pytest.raises(InvalidDataError, match="no column 'question', 'answer'; it has sentence1, sentence2"):
        read_corpus(wrong, find_data(wrong, "embedded", note=lambda _: None))


def test_both_evaluation_splits_of_mnli_have_a_stand_in() -> None:
    pytest.importorskip("pyarrow")
    task = task_of("mnli", eval_split="validation_mismatched")
    matched, other = (
        read_corpus(each, find_data(each, "embedded", note=lambda _: None)).evaluation.texts
        for each in (task_of("mnli"), task)
    )
    assert matched != other


@pytest.mark.parametrize("name", EMBEDDED_CORPORA)
def test_an_embedded_corpus_is_refused_where_stand_ins_are(name: str) -> None:
    with pytest.raises(UnavailableError, match="accepts no embedded corpus"):
        find_data(Task(dataset=name, config=None), "hub", note=lambda _: None)


@pytest.mark.heavy
def test_the_stand_in_of_stsb_is_learned_in_a_short_run(tmp_path: Path) -> None:
    (tmp_path / "stsb.yaml").write_text(SUITE)
    done = subprocess.run(
        [sys.executable, "-m", "harness", "run", "stsb.yaml", "--assets", "embedded", "--no-parity"],
        cwd=tmp_path,
        env=environ(HF_HUB_OFFLINE="1", NO_COLOR="1"),
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "embedded/similarity, a generated corpus, was used in place of glue/stsb" in done.stdout
    (file,) = tmp_path.glob("reports/stsb/*/report.json")
    (result,) = load_report(file).results
    assert (result.value("eval_spearman") or 0) > 0.5
