"""Expected work: the steps, examples and tokens that a trial's settings and its data imply."""

from __future__ import annotations

from dataclasses import dataclass, replace

from harness.model.assets import Data
from harness.model.trial import Trial
from harness.model.values import Padding
from harness.training.batching import UNPADDED_MULTIPLE, padded_length

Bounds = tuple[float, float]


@dataclass(frozen=True, slots=True)
class ExpectedWork:
    """The work after warm-up: optimizer `steps`, and the least and most `examples` and `real_tokens`."""

    steps: int
    examples: Bounds
    real_tokens: Bounds
    padding: Padding
    longest: int
    batches: int

    def computed_tokens(self, examples: float, real_tokens: float) -> Bounds:
        """Return the least and most tokens that the linear layers compute for them."""
        if self.padding.strategy == "unpadded":
            return real_tokens, real_tokens + self.batches * (UNPADDED_MULTIPLE - 1)
        most = examples * padded_length(self.longest, self.padding, self.longest)
        return (most if self.padding.strategy == "static" else real_tokens), most


def expected_work(trial: Trial, data: Data, warmup_steps: int) -> ExpectedWork:
    """Return the work of a training after its first `warmup_steps` optimizer steps.

    The batch order determines the examples in the warm-up, so tokens are known only within bounds.
    """
    train, examples = trial.train, data.train_examples
    batches = -(-examples // trial.batch_size)
    an_epoch = -(-batches // train.gradient_accumulation_steps)
    all_steps = train.max_steps if train.max_steps > 0 else an_epoch * train.num_train_epochs
    full = trial.global_batch_size
    # Trainer's sampler repeats examples to fill each batch of the last step of an epoch.
    repeats = max(0, train.gradient_accumulation_steps - ((examples - 1) % full + 1))
    if trial.padding.strategy != "batch_rebalance":
        repeats = 0
    examples += repeats

    def seen(steps: int) -> int:
        """Return the examples in the first steps; the last step of an epoch has the remainder."""
        epochs, rest = divmod(steps, an_epoch)
        return epochs * examples + rest * full

    warm_up = min(warmup_steps, all_steps)
    after = seen(all_steps) - seen(warm_up)
    low = high = float(after)
    if trial.padding.strategy == "bucketed":
        # The incomplete batch may occur anywhere in an epoch.
        spread = (an_epoch * full - examples) * (-(-all_steps // an_epoch))
        low, high = after - spread, after + spread
    whole, rest = divmod(all_steps, an_epoch)
    known = whole * data.train_examples * data.mean_length
    again = whole * repeats
    tokens = (
        max(low, known + rest + again - (seen(warm_up) + high - low) * data.longest),
        min(
            high * data.longest, known + (rest * full + again) * data.longest - (seen(warm_up) - (high - low))
        ),
    )
    return ExpectedWork(
        steps=all_steps - warm_up,
        examples=(low, high),
        real_tokens=tokens,
        padding=trial.padding,
        longest=data.longest,
        batches=(all_steps - warm_up) * train.gradient_accumulation_steps * trial.world_size,
    )


def work_of_window(whole: ExpectedWork, trial: Trial, data: Data, steps: int) -> ExpectedWork:
    """Return the work of a window of some steps of a training: any, but at most one incomplete an epoch."""
    batches = -(-data.train_examples // trial.batch_size)
    an_epoch = -(-batches // trial.train.gradient_accumulation_steps)
    incomplete = min(steps, -(-(whole.steps + an_epoch) // an_epoch))
    most = float(steps * trial.global_batch_size)
    least = (steps - incomplete) * trial.global_batch_size + float(incomplete)
    return replace(
        whole,
        steps=steps,
        examples=(least, most),
        real_tokens=(least, most * data.longest),
        batches=steps * trial.train.gradient_accumulation_steps * trial.world_size,
    )
