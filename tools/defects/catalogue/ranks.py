"""Defects of training on several devices."""

from __future__ import annotations

from typing import Final

from tools.defects.catalogue.defect import LOOP, Defect

_BATCHING: Final = "batching.py"
_MINE: Final = "len(batch.share_of(self._rank))"
_WEIGHT: Final = f"weight = {_MINE} / len(batch.rows)"
_SHARES: Final = "np.array_split(rows, ranks)"
_SUM: Final = "                ranks.add_up(each.grad)\n"

RANKS: Final = tuple(
    Defect(name, "ranks", path, before, after, ("loop 2 ranks",))
    for name, path, before, after in (
        ("shares overlap", _BATCHING, _SHARES, "[rows[: -(-len(rows) // ranks)]] * ranks"),
        (
            "the rest of a short batch left out",
            _BATCHING,
            _SHARES,
            "np.array_split(rows[: len(rows) // ranks * ranks], ranks)",
        ),
        (
            "tokens of the whole batch counted",
            _BATCHING,
            "for share in _shares(rows, ranks) if len(share)",
            "for share in [rows]",
        ),
        ("shares count alike", LOOP, _WEIGHT, f"weight = bool({_MINE}) / batch.ranks"),
        (
            "shares weighted by a full batch",
            LOOP,
            _WEIGHT,
            f"weight = {_MINE} / training.trial.batch_size",
        ),
        ("gradients not added up", LOOP, _SUM, "                pass\n"),
        (
            "gradients of one group added up",
            LOOP,
            f"            for each in self._flat:\n{_SUM}",
            f"            for each in self._flat[:1]:\n{_SUM}",
        ),
        (
            "gradients averaged once more",
            LOOP,
            _SUM,
            f"{_SUM}                each.grad /= self._training.trial.world_size\n",
        ),
        (
            "gradients added up at every pass",
            LOOP,
            "        ranks.add_up(loss)\n",
            "        ranks.add_up(loss)\n        for each in self._flat:\n            ranks.add_up(each.grad)\n",
        ),
        ("the loss of one rank reported", LOOP, "        ranks.add_up(loss)\n", ""),
        (
            "an order for each rank",
            "fitting.py",
            '            seed=number_of(trial.seed, "order"),\n',
            '            seed=number_of(trial.seed, "order") + ranks.rank(),\n',
        ),
        (
            "the same masks in every rank",
            "ranks.py",
            "return (seed, rank()) if rank() > 0 else seed",
            "return seed",
        ),
    )
)
