"""Defects of the reading of files, of labels and splits, of tokens and their cache, and of digests."""

from __future__ import annotations

from typing import Final

from tools.defects.catalogue.defect import Defect

_LABELS: Final = "../data/labels.py"
_SPLITS: Final = "../data/splits.py"
_FILES: Final = "../data/files.py"
_GLUE: Final = "../data/glue.py"
_CORPUS: Final = "../data/corpus.py"
_TABLES: Final = "../data/tables.py"
_TOKENS: Final = "tokenizing/tokens.py"
_EVALUATED: Final = "    evaluation = {split: found[split] for split in task.eval_splits}\n"
_FIRST: Final = "        columns = {name: values[:rows] for name, values in self.columns.items()}\n"
_ENCODED: Final = "                *(batch[column] for column in columns),\n"
_QUOTED: Final = """            row.append(quoted.replace('""', '"'))\n"""

DATA: Final = (
    Defect(
        "classes in the order of their first rows",
        "data",
        _LABELS,
        "    ordered: list[Label] = sorted(\n"
        "        train, key=lambda label: (label if isinstance(label, int) else 0, str(label))\n"
        "    )\n",
        "    ordered: list[Label] = list(train)\n",
        ("csv run",),
    ),
    Defect(
        "names of classes in the reverse order",
        "data",
        _LABELS,
        "Classes(tuple(map(str, ordered)), {label",
        "Classes(tuple(sorted(map(str, ordered), reverse=True)), {label",
        ("csv run",),
    ),
    Defect(
        "declared names of classes sorted",
        "data",
        _FILES,
        '        name: tuple(map(str, feature["names"]))\n',
        '        name: tuple(sorted(map(str, feature["names"])))\n',
        ("parquet run",),
    ),
    Defect(
        "doubled quotes stay",
        "data",
        _FILES,
        _QUOTED,
        "            row.append(quoted)\n",
        ("csv run",),
    ),
    Defect(
        "line breaks in cells become spaces",
        "data",
        _FILES,
        _QUOTED,
        """            row.append(" ".join(quoted.replace('""', '"').split()))\n""",
        ("csv run",),
    ),
    Defect(
        "texts without the spaces at their ends",
        "data",
        _SPLITS,
        '        rows.extend(zip(*(cast("list[str]", table.columns[column])',
        "        rows.extend(zip(*([str(text).strip() for text in table.columns[column]]",
        ("jsonl run",),
    ),
    Defect(
        "only the first file of a split",
        "data",
        _SPLITS,
        "    for part in files[split]:\n",
        "    for part in files[split][:1]:\n",
        ("csv run",),
    ),
    Defect(
        "a limit for each file",
        "data",
        _SPLITS,
        "            rows -= len(kept[-1].rows)\n",
        "",
        ("parquet run",),
    ),
    Defect(
        "the limit of training for evaluation",
        "data",
        _SPLITS,
        "        wanted: int | None = getattr(task.limit, key)\n",
        "        wanted: int | None = min(task.limit.train or 0, 40)\n",
        ("parquet run",),
    ),
    Defect(
        "a limit keeps the last rows",
        "data",
        _TABLES,
        _FIRST,
        "        columns = {name: values[-rows:] for name, values in self.columns.items()}\n",
        ("parquet run",),
    ),
    Defect(
        "premise and hypothesis swapped",
        "data",
        _GLUE,
        '{"sentence1": "premise", "sentence2": "hypothesis", ',
        '{"sentence1": "hypothesis", "sentence2": "premise", ',
        ("mnli run",),
    ),
    Defect(
        "the label of one annotator",
        "data",
        _GLUE,
        '"gold_label": "label"}',
        '"label1": "label"}',
        ("mnli run",),
    ),
    Defect(
        "the first row of CoLA taken for a header",
        "data",
        _GLUE,
        "        lines, rows = [0, *lines], [_COLA, *rows]\n",
        "        rows = [_COLA, *rows[1:]]\n",
        ("cola run",),
    ),
    Defect(
        "training rows evaluated",
        "data",
        _SPLITS,
        _EVALUATED,
        "    evaluation = {split: found[task.train_split] for split in task.eval_splits}\n",
        ("csv run",),
    ),
    Defect(
        "validation rows trained on",
        "data",
        _SPLITS,
        _EVALUATED,
        f"{_EVALUATED}    found[task.train_split] = Split(\n"
        "        [each for split in found.values() for each in split.texts],\n"
        "        [each for split in found.values() for each in split.labels],\n    )\n",
        ("csv run",),
    ),
    Defect(
        "further evaluation splits are the first",
        "data",
        _SPLITS,
        _EVALUATED,
        "    evaluation = {split: found[task.eval_splits[0]] for split in task.eval_splits}\n",
        ("mnli run",),
    ),
    Defect(
        "targets rounded",
        "data",
        _LABELS,
        "targets.append(_SINGLE.unpack(_SINGLE.pack(number))[0])",
        "targets.append(float(round(number)))",
        ("similarity run",),
    ),
    Defect(
        "a digest without labels",
        "data",
        _CORPUS,
        "            digest.update(_framed(texts, label))\n",
        "            digest.update(_framed(texts, 0))\n",
        ("csv run",),
    ),
    Defect(
        "a digest of the first text",
        "data",
        _CORPUS,
        "            digest.update(_framed(texts, label))\n",
        "            digest.update(_framed(texts[:1], label))\n",
        ("csv run",),
    ),
    Defect(
        "a digest without the evaluation",
        "data",
        _CORPUS,
        "    for split in (train, *evaluation.values()):\n",
        "    for split in (train,):\n",
        ("csv run",),
    ),
    Defect(
        "a digest of the first file of each split",
        "data",
        "../assets/digest.py",
        "for split in sorted(files) for part in files[split])",
        "for split in sorted(files) for part in files[split][:1])",
        ("csv run",),
    ),
    Defect(
        "leaked rows counted with their labels",
        "data",
        _CORPUS,
        "        leaked=sum(texts in train for texts in corpus.evaluation.texts),\n",
        "        leaked=len(corpus.evaluation) - sum(texts in train for texts in corpus.evaluation.texts),\n",
        ("csv run",),
    ),
    Defect(
        "the most frequent label of all splits",
        "data",
        _CORPUS,
        "        first = self.evaluations()[0]\n",
        "        first = self.evaluation\n",
        ("mnli run",),
    ),
    Defect(
        "tokens cached without the truncation length",
        "data",
        _TOKENS,
        "        max_length,\n    )\n    return hashlib",
        "    )\n    return hashlib",
        ("runs of two lengths",),
    ),
    Defect(
        "tokens cached without the tokenizer",
        "data",
        _TOKENS,
        "        tokenizer_sha256(checkpoint),\n",
        "",
        ("runs of two tokenizers",),
    ),
    Defect(
        "tokens cached without the texts",
        "data",
        _TOKENS,
        "        corpus.content_sha256,\n",
        "        len(corpus.train),\n        len(corpus.evaluation),\n",
        ("runs of two data sets",),
    ),
    Defect(
        "truncated from the left",
        "data",
        _TOKENS,
        "    tokenizer = load_tokenizer(checkpoint)\n    if",
        '    tokenizer = load_tokenizer(checkpoint)\n    tokenizer.truncation_side = "left"\n    if',
        ("cut run",),
    ),
    Defect(
        "texts of a pair swapped",
        "data",
        _TOKENS,
        _ENCODED,
        "                *(batch[column] for column in reversed(columns)),\n",
        ("csv run",),
    ),
    Defect(
        "no type of the second text",
        "data",
        _TOKENS,
        "            token_type_ids=np.asarray(types.values, dtype=np.uint8),\n",
        "            token_type_ids=np.zeros(len(types.values), dtype=np.uint8),\n",
        ("csv run",),
    ),
    Defect(
        "no special tokens",
        "data",
        _TOKENS,
        "                padding=False,\n",
        "                padding=False,\n                add_special_tokens=False,\n",
        ("csv run",),
    ),
    Defect(
        "capital letters kept",
        "data",
        _TOKENS,
        "checkpoint, use_fast=True, local",
        "checkpoint, use_fast=True, do_lower_case=False, local",
        ("csv run",),
    ),
    Defect(
        "truncated rows of training alone",
        "data",
        _TOKENS,
        "tokenizer.pad_token_id, cut_train + cut_evaluation)",
        "tokenizer.pad_token_id, cut_train)",
        ("cut run",),
    ),
    Defect(
        "the longest row of training alone",
        "data",
        _TOKENS,
        "        return int(max(self.train.lengths.max(), self.evaluation.lengths.max()))\n",
        "        return int(self.train.lengths.max())\n",
        ("runs of two lengths",),
    ),
    Defect(
        "the mean length with the evaluation",
        "data",
        _TOKENS,
        "        return float(self.train.lengths.mean())\n",
        "        return float(np.concatenate([self.train.lengths, self.evaluation.lengths]).mean())\n",
        ("csv run",),
    ),
)
