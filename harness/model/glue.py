"""The tasks of GLUE (Wang et al. 2018, arXiv:1804.07461): columns, classes, split sizes and metrics of each.

Names are those of the Hub's `nyu-mll/glue`, whose configurations are the keys of `GLUE`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from harness.model.metrics import METRICS, headlines, metrics_of, on_split
from harness.model.values import Task, TaskKind
from harness.words import did_you_mean, quoted

GLUE_DATASETS: Final = frozenset({"nyu-mll/glue", "glue"})


@dataclass(frozen=True, slots=True)
class GlueTask:
    """One task of GLUE.

    `labels` are the class names from class 0, `metrics` those that GLUE ranks the task by if it is
    not by the common ones, `examples` the published number of examples of each split with labels.
    """

    text: tuple[str, ...]
    labels: tuple[str, ...]
    metrics: tuple[str, ...]
    examples: Mapping[str, int]
    eval_split: str = "validation"
    kind: TaskKind = "classification"

    @property
    def defaults(self) -> dict[str, Any]:
        """The fields of `Task` that differ from one task of GLUE to another."""
        return {"text": self.text, "eval_split": self.eval_split, "kind": self.kind}


def _sizes(train: int, validation: int) -> dict[str, int]:
    return {"train": train, "validation": validation}


_ACCURACY: Final = ("eval_accuracy",)
# Accuracy and F1: the headlines of the table of metrics.
_COMMON: Final = ()
_CORRELATIONS: Final = ("eval_pearson", "eval_spearman")
_SENTENCES: Final = ("sentence1", "sentence2")
_ENTAILMENT: Final = ("entailment", "not_entailment")

GLUE: Final[dict[str, GlueTask]] = {
    "cola": GlueTask(("sentence",), ("unacceptable", "acceptable"), ("eval_mcc",), _sizes(8_551, 1_043)),
    "sst2": GlueTask(("sentence",), ("negative", "positive"), _ACCURACY, _sizes(67_349, 872)),
    "mrpc": GlueTask(
        _SENTENCES, ("not_equivalent", "equivalent"), _COMMON, {**_sizes(3_668, 408), "test": 1_725}
    ),
    "qqp": GlueTask(
        ("question1", "question2"), ("not_duplicate", "duplicate"), _COMMON, _sizes(363_846, 40_430)
    ),
    "stsb": GlueTask(_SENTENCES, (), _CORRELATIONS, _sizes(5_749, 1_500), kind="regression"),
    "mnli": GlueTask(
        ("premise", "hypothesis"),
        ("entailment", "neutral", "contradiction"),
        _ACCURACY,
        {"train": 392_702, "validation_matched": 9_815, "validation_mismatched": 9_832},
        eval_split="validation_matched",
    ),
    "qnli": GlueTask(("question", "sentence"), _ENTAILMENT, _ACCURACY, _sizes(104_743, 5_463)),
    "rte": GlueTask(_SENTENCES, _ENTAILMENT, _ACCURACY, _sizes(2_490, 277)),
    "wnli": GlueTask(_SENTENCES, ("not_entailment", "entailment"), _ACCURACY, _sizes(635, 71)),
}


# The short forms of a task, each with its mapping.
TASKS: Final[dict[str, dict[str, str]]] = {
    f"glue/{config}": {"dataset": "nyu-mll/glue", "config": config} for config in GLUE
}


def unknown_task(name: str) -> str:
    """Return the message about a word that is no short name of a task."""
    hint = "any other data set is a mapping {dataset, config, text, label, ...}"
    return f"unknown task {quoted(name)}{did_you_mean(name, list(TASKS))}; {hint}"


def completed(task: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of a task with the defaults of its data set, as far as it does not set them."""
    dataset, config = task.get("dataset", Task().dataset), task.get("config", Task().config)
    known = GLUE.get(config) if isinstance(config, str) else None
    if isinstance(dataset, str) and dataset in GLUE_DATASETS and known is not None:
        return {**known.defaults, **task}
    if dataset != Task().dataset:
        # The default configuration is that of MRPC; other data sets have none unless the suite sets it.
        return {"config": None, **task}
    return dict(task)


def as_task(value: object) -> object:
    """Return the keys of a task that a suite names by a short name or a mapping; other values unchanged.

    Raises:
        ValueError: a short name that does not exist.
    """
    if isinstance(value, str):
        if value not in TASKS:
            raise ValueError(unknown_task(value))
        value = TASKS[value]
    if not isinstance(value, Mapping):
        return value
    # A list in the JSON of a suite is a tuple of its columns or splits.
    return completed({name: tuple(each) if isinstance(each, list) else each for name, each in value.items()})


def glue_task(task: Task) -> GlueTask | None:
    """Return the task of GLUE that this is, or None.

    >>> glue_task(Task(config="cola")).metrics
    ('eval_mcc',)
    """
    return GLUE.get(task.config or "") if task.dataset in GLUE_DATASETS else None


def is_mrpc(task: Task) -> bool:
    """Return whether the task is GLUE's MRPC, which has one more layout and an embedded corpus."""
    return task.dataset in GLUE_DATASETS and task.config == "mrpc"


def _own_headlines(task: Task) -> tuple[str, ...]:
    """Return the metrics of a task that are not the common ones."""
    if task.kind == "regression":
        return _CORRELATIONS
    known = glue_task(task)
    return () if known is None else known.metrics


def quality_headlines(tasks: Iterable[Task]) -> tuple[str, ...]:
    """Return the quality metrics that are shown first for these tasks.

    They are GLUE's, else accuracy and F1, or the correlations of a regression; of further splits the same.

    >>> quality_headlines([Task(config="cola")]), quality_headlines([Task(config="rte"), Task()])
    (('eval_mcc',), ('eval_accuracy', 'eval_f1'))
    """
    common = tuple(metric for metric in headlines("training") if METRICS[metric].family == "quality")
    shown = [(task, _own_headlines(task) or common) for task in tasks]
    every = {metric for _, metrics in shown for metric in metrics}
    further = {
        on_split(metric, split): None
        for task, metrics in shown
        for split in task.eval_splits[1:]
        for metric in metrics
    }
    return (*(metric for metric in METRICS if metric in every), *further) or common


def scores_of(task: Task) -> tuple[str, ...]:
    """Return every score of a task: those on its first evaluation split, then those of each further one.

    >>> scores_of(Task(config="stsb", kind="regression", eval_split=("validation", "test")))[2:4]
    ('eval_mse', 'eval_test_pearson')
    """
    scores = tuple(metric for metric in metrics_of("quality") if METRICS[metric].of == task.kind)
    return (*scores, *(on_split(score, split) for split in task.eval_splits[1:] for score in scores))


def further_scores(tasks: Iterable[Task]) -> tuple[str, ...]:
    """Return the scores of further evaluation splits of these tasks, each once."""
    return tuple(dict.fromkeys(name for task in tasks for name in scores_of(task) if name not in METRICS))


def training_headlines(tasks: Iterable[Task]) -> tuple[str, ...]:
    """Return the metrics compared by default where these tasks are trained: quality, then speed.

    >>> training_headlines([Task(config="cola")])
    ('eval_mcc', 'train_real_tokens_per_second')
    """
    speed = (metric for metric in headlines("training") if METRICS[metric].family != "quality")
    return (*quality_headlines(tasks), *speed)
