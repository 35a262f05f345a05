"""A stand-in for what scores, without torch: `python -m tests.cli.scorer`; SCORER says how it behaves."""

from __future__ import annotations

import json
import os
import sys

import numpy as np

from harness.analysis.stats.scoring import binned_gaps, cross_entropies, scores, squared_distances


def main() -> None:
    behaviour = os.environ.get("SCORER", "good")
    if behaviour == "crash":
        raise SystemExit("error: it broke")
    if behaviour == "babble":
        print("no JSON")  # noqa: T201 -- what it prints is what is tested
        return
    found = []
    for each in json.load(sys.stdin):
        labels, logits = np.asarray(each["labels"]), np.asarray(each["logits"])
        predicted = logits.argmax(axis=1)
        score = {
            name: float(scores(name, labels, predicted[None])[0])
            for name in ("eval_accuracy", "eval_f1", "eval_mcc")
        }
        score["eval_ece"] = float(scores("eval_ece", labels, binned_gaps(labels, logits)[None])[0])
        score["eval_brier"] = float(squared_distances(labels, logits).mean())
        exact = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(labels.size), labels]
        assert np.allclose(exact, cross_entropies(labels, logits))
        score["eval_loss"] = float(exact.mean())
        found.append({"scores": score, "degenerate": len(set(predicted)) == 1})
    print("a library says hello")  # noqa: T201 -- as above
    print(json.dumps({"metric_version": "fake 1", "scores": found}))  # noqa: T201 -- as above


if __name__ == "__main__":
    main()
