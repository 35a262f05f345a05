"""Rules between axes: which value of an axis needs which values of another, and what to write instead.

There is one constant for each axis with rules; its declaration in `Trial` refers to it.
"""

from __future__ import annotations

from typing import Final

from harness.model.axis import Needs

# Implementations of attention that our own functions wrap.
_FLAT: Final = ("auto", "eager", "sdpa", "jagged")

PADDING: Final = (
    Needs(
        "unpadded",
        "attention",
        _FLAT,
        why="it has no attention function for unpadded batches",
        instead="attention: sdpa or jagged",
    ),
    *(
        Needs(
            strategy,
            "engine",
            ("trainer",),
            why=f"{strategy} is a sampler of `Trainer`",
            instead="engine: trainer or padding: bucketed",
        )
        for strategy in ("group_by_length", "batch_rebalance")
    ),
)

PRECISION: Final = (
    Needs("fp16", "device", ("cuda",), why="fp16 needs CUDA", instead="precision: bf16"),
    Needs("tf32", "device", ("cuda",), why="tf32 is a format of CUDA devices", instead="precision: fp32"),
)

ENGINE: Final = (
    Needs(
        "loop",
        "train.optim",
        ("adamw_torch", "adamw_torch_fused"),
        why="the loop engine serves AdamW alone",
        instead="engine: trainer",
    ),
    Needs(
        "loop",
        "train.dataloader_num_workers",
        ("0",),
        why="the loop engine has no data loader",
        instead="engine: trainer",
    ),
)

ATTENTION: Final = (
    Needs(
        "jagged",
        "padding",
        ("unpadded",),
        why="jagged attention is for unpadded batches",
        instead="attention: auto",
    ),
    *(
        Needs(
            name,
            "precision",
            ("bf16", "fp16"),
            why=f"{name} computes in bf16 and fp16",
            instead="precision: bf16",
        )
        for name in ("flash_attention_2", "flash_attention_3")
    ),
)

LAST_LAYER: Final = (
    Needs(
        "cls",
        "train.gradient_checkpointing",
        ("false",),
        why="checkpointing computes a layer again without the hooks that leave rows out",
        instead="last_layer: all",
    ),
    Needs("cls", "attention", _FLAT, why="its masks and kernels take every row", instead="last_layer: all"),
)

CUDA_GRAPHS: Final = (
    Needs("true", "device", ("cuda",), why="CUDA graphs need CUDA", instead="cuda_graphs: false"),
    Needs("true", "engine", ("loop",), why="the loop engine alone captures graphs", instead="engine: loop"),
    Needs(
        "true",
        "padding",
        ("static", "dynamic", "bucketed", "group_by_length", "batch_rebalance"),
        why="a graph needs batches of one shape, and unpadded batches have none",
        instead="padding: bucketed or static",
    ),
    Needs(
        "true",
        "train.gradient_checkpointing",
        ("false",),
        why="checkpointing restores the state of random numbers, which no graph may do",
        instead="cuda_graphs: false",
    ),
)

COMPILE: Final = (
    Needs(
        "reduce-overhead",
        "device",
        ("cuda",),
        why="this mode replays CUDA graphs, and equals default on other devices",
        instead="compile: default",
    ),
    *(
        Needs(mode, axis, among, why=why, instead="compile: off")
        for mode in ("default", "reduce-overhead", "max-autotune-no-cudagraphs")
        for axis, among, why in (
            (
                "padding",
                ("static", "dynamic", "bucketed"),
                "the positions of unpadded rows depend on the data, which breaks the graph",
            ),
            ("cuda_graphs", ("false",), "the loop engine captures eager passes only"),
            ("world_size", ("1",), "no proof covers ranks that each compile their shapes"),
            ("adapter", ("none",), "compiled adapters are not shown to train as eager ones"),
            (
                "train.gradient_checkpointing",
                ("false",),
                "compiled checkpointing is not shown to train as eager passes do",
            ),
        )
    ),
)

WORLD_SIZE: Final = (
    Needs(
        "1", "device", ("cpu", "cuda"), why="a Mac has one MPS device", instead="world_size: 1", others=True
    ),
    Needs(
        "1",
        "engine",
        ("loop",),
        why="the loop engine alone trains on several devices",
        instead="engine: loop",
        others=True,
    ),
    Needs(
        "1",
        "cuda_graphs",
        ("false",),
        why="passes are captured on one device alone",
        instead="cuda_graphs: false",
        others=True,
    ),
)
