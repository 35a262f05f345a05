"""Check a checkpoint's folder before it is read: a config, a tokenizer, whole safetensors files, no code.

A safetensors file begins with the length of its header in eight bytes, little-endian; the header is JSON; the
tensors fill the file to its last byte (https://huggingface.co/docs/safetensors). So a file that a download
cut short is found before a trial starts.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from harness.errors import UnavailableError
from harness.foreign import ForeignFileError, open_regular, read_regular

WEIGHTS: Final = "model.safetensors"
ADAPTER: Final = "adapter_config.json"
INDEX: Final = "model.safetensors.index.json"
TOKENIZER_FILES: Final = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
)
# For each file, the key by which transformers reads another file instead.
_ELSEWHERE: Final = {"config.json": "configuration_files", "tokenizer_config.json": "fast_tokenizer_files"}
_VOCABULARIES: Final = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
)
# The largest vocabularies in use, of 250,000 entries, take 17 MB.
LARGEST_TEXT_BYTES: Final = 2**28
_PICKLES: Final = (".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack")


def choose_files(name: str, files: Sequence[str]) -> list[str]:
    """Select the config, tokenizer and safetensors files from the paths in a repository.

    Raises:
        UnavailableError: the config, the vocabulary or the safetensors are missing.
    """
    top = {file for file in files if "/" not in file}
    _check_names(name, top)
    weights = [WEIGHTS] if WEIGHTS in top else [INDEX, *sorted(file for file in top if _is_shard(file))]
    return [*(file for file in ("config.json", *TOKENIZER_FILES) if file in top), *weights]


def weight_files(folder: Path) -> tuple[Path, ...]:
    """Return the safetensors files that a checked folder loads: a single file, or the shards of its index."""
    if (folder / WEIGHTS).exists():
        return (folder / WEIGHTS,)
    shards = set(_read_json(folder.name, folder / INDEX)["weight_map"].values())
    return tuple(folder / shard for shard in sorted(shards))


def check_folder(name: str, folder: Path) -> None:
    """Refuse a folder that cannot be used. No code in it is executed.

    Raises:
        UnavailableError: a file is missing or exists only as a pickle, the model needs custom code, or
            transformers would load another model or code from elsewhere.
    """
    present = {file.name for file in folder.iterdir() if file.exists()}
    _check_names(name, present)
    # Read every file that is hashed or opened later: a named pipe among them would hang a trial.
    for file in sorted(present.intersection(TOKENIZER_FILES)):
        _read(name, folder / file)
    for config, elsewhere in _ELSEWHERE.items():
        content = _read_json(name, folder / config) if config in present else {}
        if "auto_map" in content:
            raise UnavailableError(
                f"{name}: its {config} names custom code (auto_map), which harness never runs",
                hint="There is no --trust-remote-code: use an architecture that transformers includes.",
            )
        if elsewhere in content:
            raise UnavailableError(
                f"{name}: its {config} names other files for other versions of transformers ({elsewhere})",
                hint=f"Keep the files for one version, and remove {elsewhere} from {config}.",
            )
    for file in sorted(file for file in present if file.endswith(".safetensors")):
        check_safetensors(name, folder / file)
    if WEIGHTS not in present:
        _check_shards(name, folder)
    _refuse_redirections(name, folder)


def _refuse_redirections(name: str, folder: Path) -> None:
    """Refuse an adapter's config, and attention kernels that transformers would load from the Hub."""
    if (folder / ADAPTER).exists():
        raise UnavailableError(
            f"{name}: {ADAPTER} makes it an adapter to another model, which transformers would load instead",
            hint="Merge the adapter into its model and save that, or remove the file.",
        )
    attention = _read_json(name, folder / "config.json").get("_attn_implementation")
    if attention not in (None, "eager", "sdpa"):
        raise UnavailableError(
            f"{name}: its config.json asks for the attention {attention!r}, which may be code from the Hub",
            hint="Remove _attn_implementation from it: the suite chooses the attention.",
        )


def _check_shards(name: str, folder: Path) -> None:
    """Check that the index names at least one shard, and that the folder contains every shard."""
    shards = _read_json(name, folder / INDEX).get("weight_map", {})
    if not isinstance(shards, dict) or not all(isinstance(shard, str) for shard in shards.values()):
        raise UnavailableError(
            f"{name}: {INDEX}: weight_map does not map tensor names to file names",
            hint="Download the checkpoint again, or write it again with save_pretrained.",
        )
    missing = sorted(shard for shard in set(shards.values()) if not _is_file_in(folder, shard))
    if missing or not shards:
        raise UnavailableError(f"{name}: incomplete, {', '.join(missing) or INDEX} is missing or empty")


def _check_names(name: str, files: set[str]) -> None:
    if "config.json" not in files:
        raise UnavailableError(f"{name}: no config.json{_found(files)}")
    if not files.intersection(_VOCABULARIES):
        raise UnavailableError(f"{name}: no tokenizer (tokenizer.json or a vocabulary){_found(files)}")
    if WEIGHTS not in files and INDEX not in files:
        pickles = sorted(file for file in files if file.endswith(_PICKLES))
        raise UnavailableError(
            f"{name}: no safetensors{_found(set(pickles))}",
            hint="Pickled weights can run code, and there is no --allow-pickle. Load the checkpoint in "
            "transformers once and save it with save_pretrained, which writes safetensors.",
        )


def _found(files: set[str]) -> str:
    return f"; found {', '.join(sorted(files)[:8])}" if files else "; found no files"


def _is_shard(file: str) -> bool:
    return file.startswith("model-") and file.endswith(".safetensors")


def _is_file_in(folder: Path, file: str) -> bool:
    return "/" not in file and "\\" not in file and (folder / file).is_file()


def _read_json(name: str, file: Path) -> dict[str, Any]:
    try:
        content = json.loads(_read(name, file))
    except (ValueError, RecursionError) as error:
        raise UnavailableError(f"{name}: {file.name} is not valid JSON ({error})") from error
    if not isinstance(content, dict):
        raise UnavailableError(f"{name}: {file.name} is not a JSON object")
    return content


def _read(name: str, file: Path) -> bytes:
    try:
        return read_regular(file, limit=LARGEST_TEXT_BYTES)
    except OSError as error:
        raise UnavailableError(f"{name}: {file.name} {unreadable(error)}") from error


# The limit of the safetensors library.
LARGEST_HEADER_BYTES: Final = 100_000_000
_PREFIX: Final = 8
_NEXT: Final = "Download the checkpoint again, or write it again with save_pretrained."


def check_safetensors(name: str, file: Path) -> None:
    """Refuse a file that the library could not load, without reading its tensors.

    Args:
        name: the checkpoint, for the message.
        file: one of its safetensors files.

    Raises:
        UnavailableError: not a regular file, an invalid header, or a size that differs from the header's.
    """
    try:
        with os.fdopen(open_regular(file), "rb") as opened:
            size = os.fstat(opened.fileno()).st_size
            length = int.from_bytes(opened.read(_PREFIX), "little")
            if size < _PREFIX or length > min(size - _PREFIX, LARGEST_HEADER_BYTES):
                raise ForeignFileError(f"has no safetensors header ({size:,} bytes)")
            expected = _PREFIX + length + _data_bytes(opened.read(length))
    except OSError as error:
        raise UnavailableError(f"{name}: {file.name} {unreadable(error)}", hint=_NEXT) from error
    if size != expected:
        raise UnavailableError(
            f"{name}: {file.name} has {size:,} bytes, its header describes {expected:,}", hint=_NEXT
        )


def unreadable(error: OSError) -> str:
    """Return why a file cannot be read, to follow its name in a sentence."""
    return str(error) if isinstance(error, ForeignFileError) else f"cannot be read: {error.strerror or error}"


def _data_bytes(header: bytes) -> int:
    """Return how many bytes of tensors a header describes."""
    try:
        tensors: dict[str, Any] = json.loads(header)
        ends = [tensor["data_offsets"][1] for name, tensor in tensors.items() if name != "__metadata__"]
        return int(max(ends, default=0))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ForeignFileError("has no valid safetensors header") from error
