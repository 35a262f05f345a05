"""What every worker would do again and can be done once, in the process that workers are forked from.

Nothing here computes with tensors, opens a device or reads with Arrow: each would start threads, and what is
forked from a process with threads can wait for ever for one that it does not have.
"""

from __future__ import annotations

from pathlib import Path

from transformers import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING, AutoConfig
from transformers.conversion_mapping import get_checkpoint_conversion_mapping

from harness.assets.digest import checkpoint_digests, files_sha256
from harness.model.job import Job
from harness.training.evaluation import load_metric


def warm(job: Job) -> None:
    """Load what trials on the job's checkpoint share; a second time costs a few milliseconds.

    These are the metric, the rules by which transformers renames weights (50 ms in every worker), the model's
    classes, and the digests of the checkpoint's and the data set's files, which also puts the pages of the
    weights into memory. The weights themselves are not loaded here: a worker maps their file copy-on-write,
    so that workers share the pages that they do not change. A worker compares the files with the digests in
    its job, and reads one again that changed since it was read here.

    Raises:
        Exception: of any kind, for a checkpoint that cannot be read: its trial reports the reason.
    """
    load_metric()
    folder = Path(job.checkpoint.path)
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    get_checkpoint_conversion_mapping(config.model_type)  # type: ignore[no-untyped-call] # transformers' own
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING[type(config)]
    checkpoint_digests(folder)
    files_sha256(job.data.files)
