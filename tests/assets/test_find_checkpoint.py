from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest

from harness.assets.checkpoint_folder import choose_files, weight_files
from harness.assets.find_checkpoint import find_checkpoint, peek_checkpoint
from harness.errors import InvalidInputError, UnavailableError
from harness.model.assets import AssetsMode, ResolvedCheckpoint
from tests.assets.hub_layout import CHECKPOINT, COMMIT, OTHER_COMMIT, WEIGHTS, FakeHub, cache_repo


def find(name: str, mode: AssetsMode = "auto", revision: str | None = None) -> ResolvedCheckpoint:
    return find_checkpoint(name, revision, mode, note=lambda _: None)


def write(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("repo", ["models--bert-base-uncased", "models--google-bert--bert-base-uncased"])
@pytest.mark.parametrize("mode", ["auto", "hub"])
def test_a_cached_checkpoint_resolves_by_name_with_its_commit(
    hub_cache: Path, repo: str, mode: AssetsMode
) -> None:
    snapshot = cache_repo(hub_cache, repo, CHECKPOINT)
    found = find("bert-base-uncased", mode)
    assert (found.source, found.revision, found.path) == ("hub cache", COMMIT, str(snapshot))
    assert (found.name, found.stand_in) == ("bert-base-uncased", False)
    assert peek_checkpoint("bert-base-uncased", None, mode) == f"Hub cache, commit {COMMIT[:12]}"


def test_a_revision_pins_another_commit_than_main(hub_cache: Path) -> None:
    cache_repo(hub_cache, "models--a--b", CHECKPOINT)
    pinned = cache_repo(hub_cache, "models--a--b", CHECKPOINT, commit=OTHER_COMMIT, ref="v2")
    assert find("a/b", revision="v2").path == str(pinned)
    assert find("a/b", revision=OTHER_COMMIT).revision == OTHER_COMMIT
    assert find("a/b").revision == COMMIT


def test_a_pinned_commit_that_is_not_cached_is_not_replaced_by_another(hub_cache: Path) -> None:
    cache_repo(hub_cache, "models--a--b", CHECKPOINT)
    with pytest.raises(UnavailableError, match="cannot be reached"):
        find("a/b", "hub", revision=OTHER_COMMIT)


def test_hub_mode_with_nothing_cached_and_no_network_fails_at_once_and_says_what_to_do() -> None:
    start = time.monotonic()
    with pytest.raises(
        UnavailableError, match=r"bert-base-uncased: .*cannot be reached.*not in its cache"
    ) as error:
        find("bert-base-uncased", "hub")
    assert error.value.exit_code == 69
    assert "HF_HOME" in (error.value.hint or "")
    assert time.monotonic() - start < 10


def test_offline_by_variable_asks_nobody(fake_hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UnavailableError, match="HF_HUB_OFFLINE"):
        find("bert-base-uncased", "hub")
    assert fake_hub.asked == []


@pytest.mark.parametrize(
    ("name", "stand_in"),
    [
        ("bert-base-uncased", "embedded/bert-uncased"),
        ("google-bert/bert-base-cased", "embedded/bert-cased"),
        ("distilbert-base-uncased", "embedded/distilbert"),
        ("google/bert_uncased_L-2_H-128_A-2", "embedded/bert-uncased"),
        ("minilm", "embedded/bert-uncased"),
    ],
)
def test_a_stand_in_of_the_same_family_is_labelled_and_announced(
    name: str, stand_in: str, notes: list[str]
) -> None:
    found = find_checkpoint(name, None, "embedded", note=notes.append)
    assert (found.requested, found.name, found.source) == (name, stand_in, "embedded")
    assert found.stand_in
    assert found.revision is None
    assert any("stand-in" in note and stand_in in note for note in notes)


def test_auto_takes_a_stand_in_only_where_the_hub_cannot_be_reached(notes: list[str]) -> None:
    assert find_checkpoint("bert-base-uncased", None, "auto", note=notes.append).stand_in
    assert any("cannot be reached" in note for note in notes)


@pytest.mark.parametrize("mode", ["auto", "embedded"])
@pytest.mark.parametrize("name", ["roberta-base", "albert-base-v2", "microsoft/deberta-v3-base", "bert"])
def test_a_family_without_a_stand_in_gets_none(name: str, mode: AssetsMode) -> None:
    with pytest.raises(UnavailableError):
        find(name, mode)


def test_hub_mode_refuses_what_is_embedded() -> None:
    with pytest.raises(UnavailableError, match="accepts nothing embedded"):
        find("embedded/bert-uncased", "hub")
    assert find("embedded/bert-uncased").stand_in is False


def test_an_embedded_name_that_does_not_exist_lists_those_that_do() -> None:
    with pytest.raises(InvalidInputError, match="no such") as error:
        find("embedded/gpt")
    assert "embedded/distilbert" in str(error.value)


def test_a_folder_in_the_current_directory_is_not_taken_for_a_checkpoint_of_that_name() -> None:
    write(Path("bert-base-uncased"), CHECKPOINT)
    assert find("bert-base-uncased").source == "embedded"
    assert find("./bert-base-uncased").source == "local"


def test_a_local_folder_needs_safetensors_a_config_and_a_vocabulary(tmp_path: Path) -> None:
    for missing in ("config.json", "vocab.txt", "model.safetensors"):
        files = {name: content for name, content in CHECKPOINT.items() if name != missing}
        folder = write(tmp_path / f"without-{missing}", files)
        with pytest.raises(UnavailableError, match=r"no (config|tokenizer|safetensors)"):
            find(str(folder))
    with pytest.raises(UnavailableError, match="no such folder"):
        find("./nowhere")


def test_a_checkpoint_with_only_pickled_weights_is_refused(hub_cache: Path, tmp_path: Path) -> None:
    files = {name: content for name, content in CHECKPOINT.items() if name != "model.safetensors"}
    pickled = {**files, "pytorch_model.bin": b"\x80"}
    with pytest.raises(UnavailableError, match=r"no safetensors; found pytorch_model\.bin") as error:
        find(str(write(tmp_path / "pickled", pickled)))
    assert "save_pretrained" in (error.value.hint or "")
    assert "there is no --allow-pickle" in (error.value.hint or "")
    cache_repo(hub_cache, "models--a--pickled", pickled)
    with pytest.raises(UnavailableError, match="no safetensors"):
        find("a/pickled", "hub")


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_a_checkpoint_that_needs_code_of_its_own_is_refused(hub_cache: Path, file: str) -> None:
    remote = json.dumps({"auto_map": {"AutoModel": "modeling.Custom"}}).encode()
    planted = b"raise SystemExit('ran')"
    cache_repo(hub_cache, "models--a--b", {**CHECKPOINT, file: remote, "modeling.py": planted})
    with pytest.raises(UnavailableError, match="custom code"):
        find("a/b")
    assert peek_checkpoint("roberta-base", None, "auto") == "download from the Hub"


@pytest.mark.parametrize(
    ("file", "key"),
    [("config.json", "configuration_files"), ("tokenizer_config.json", "fast_tokenizer_files")],
)
def test_a_checkpoint_whose_config_names_other_files_is_refused(tmp_path: Path, file: str, key: str) -> None:
    versions = json.dumps({key: ["config.4.0.0.json"]}).encode()
    folder = write(tmp_path / "versions", {**CHECKPOINT, file: versions})
    with pytest.raises(UnavailableError, match=rf"its {file} names other files .*\({key}\)"):
        find(str(folder))


@pytest.mark.parametrize("attention", ["owner/kernel", "flash_attention_2", 3, []])
def test_a_checkpoint_that_asks_for_attention_from_elsewhere_is_refused(
    tmp_path: Path, attention: object
) -> None:
    config = json.dumps({"model_type": "bert", "_attn_implementation": attention}).encode()
    folder = write(tmp_path / "mine", {**CHECKPOINT, "config.json": config})
    with pytest.raises(UnavailableError, match=r"config\.json asks for the attention") as error:
        find(str(folder))
    assert "_attn_implementation" in (error.value.hint or "")
    for allowed in ("eager", "sdpa", None):
        (folder / "config.json").write_text(json.dumps({"_attn_implementation": allowed}))
        assert find(str(folder)).source == "local"


def test_an_adapter_to_another_model_is_refused(tmp_path: Path) -> None:
    """Where peft is installed, transformers loads the model that the adapter names, not the folder's."""
    folder = write(tmp_path / "mine", {**CHECKPOINT, "adapter_config.json": b"{}"})
    with pytest.raises(UnavailableError, match=r"adapter_config\.json makes it an adapter to another model"):
        find(str(folder))


def test_sharded_weights_must_all_be_there(tmp_path: Path) -> None:
    files = {name: content for name, content in CHECKPOINT.items() if name != "model.safetensors"}
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    files |= {
        "model.safetensors.index.json": json.dumps(index).encode(),
        "model-00001-of-00002.safetensors": WEIGHTS,
    }
    folder = write(tmp_path / "sharded", files)
    with pytest.raises(UnavailableError, match="model-00002-of-00002"):
        find(str(folder))
    (folder / "model-00002-of-00002.safetensors").write_bytes(WEIGHTS)
    assert find(str(folder)).source == "local"
    assert weight_files(folder) == tuple(folder / f"model-0000{at}-of-00002.safetensors" for at in (1, 2))
    assert choose_files("sharded", [*files, "model-00002-of-00002.safetensors", "pytorch_model.bin"])[
        -3:
    ] == [
        "model.safetensors.index.json",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    ]


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (b'{"model_type": ', "config.json is not valid JSON"),
        (b'["bert"]', "config.json is not a JSON object"),
        (b"[" * 100_000, "config.json is not valid JSON"),
    ],
)
def test_a_damaged_config_makes_its_checkpoint_unavailable(
    tmp_path: Path, config: bytes, reason: str
) -> None:
    folder = write(tmp_path / "damaged", CHECKPOINT | {"config.json": config})
    with pytest.raises(UnavailableError, match=re.escape(reason)):
        find(str(folder))


@pytest.mark.parametrize(
    "weight_map", [["a"], "a", 3, {"a": 1}, {"a": ["b"]}, {"a": {"b": "c"}}, {"a": None}]
)
def test_a_malformed_index_makes_its_checkpoint_unavailable(tmp_path: Path, weight_map: Any) -> None:
    files = {name: content for name, content in CHECKPOINT.items() if name != "model.safetensors"}
    index = json.dumps({"weight_map": weight_map}).encode()
    folder = write(tmp_path / "sharded", files | {"model.safetensors.index.json": index})
    with pytest.raises(UnavailableError, match=r"index\.json: weight_map does not map"):
        find(str(folder))


@pytest.mark.timeout(30)
@pytest.mark.parametrize("file", [*CHECKPOINT, "tokenizer.json", "more.safetensors"])
@pytest.mark.parametrize("kind", ["a named pipe", "a device", "a folder"])
def test_what_is_no_regular_file_in_a_checkpoint_is_refused_and_never_read(
    tmp_path: Path, file: str, kind: str
) -> None:
    folder = write(tmp_path / "mine", CHECKPOINT)
    (folder / file).unlink(missing_ok=True)
    if kind == "a named pipe":
        os.mkfifo(folder / file)
    elif kind == "a device":
        (folder / file).symlink_to("/dev/zero")
    else:
        (folder / file).mkdir()
    with pytest.raises(UnavailableError, match=f"{file} is {kind}, not a regular file"):
        find(str(folder))


@pytest.mark.parametrize("file", ["config.json", "vocab.txt", "tokenizer_config.json"])
def test_a_sparse_file_in_a_checkpoint_is_refused_and_never_read(tmp_path: Path, file: str) -> None:
    folder = write(tmp_path / "mine", CHECKPOINT)
    os.truncate(folder / file, 40 * 2**30)
    with pytest.raises(UnavailableError, match=f"{file} is larger than 256 MiB"):
        find(str(folder))


_TENSOR = b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}'


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        (b"", "no safetensors header"),
        (b"weights", "no safetensors header"),
        ((2**40).to_bytes(8, "little") + b"{}", "no safetensors header"),
        ((2).to_bytes(8, "little") + b"[]", "no valid safetensors header"),
        ((1).to_bytes(8, "little") + b"{", "no valid safetensors header"),
        (len(_TENSOR).to_bytes(8, "little") + _TENSOR + bytes(7), "its header describes 77"),
        (len(_TENSOR).to_bytes(8, "little") + _TENSOR + bytes(9), "its header describes 77"),
    ],
)
def test_weights_that_do_not_match_their_header_are_refused(
    tmp_path: Path, weights: bytes, words: str
) -> None:
    folder = write(tmp_path / "mine", CHECKPOINT | {"model.safetensors": weights})
    with pytest.raises(UnavailableError, match=words):
        find(str(folder))


def test_weights_that_match_their_header_are_taken(tmp_path: Path) -> None:
    weights = len(_TENSOR).to_bytes(8, "little") + _TENSOR + bytes(8)
    folder = write(tmp_path / "mine", CHECKPOINT | {"model.safetensors": weights})
    assert find(str(folder)).source == "local"


@pytest.mark.parametrize(
    "name",
    [
        "../up/x" * 40,
        "./" + "x" * 5000,
        "a/" + "x" * 5000,
        "./\0",
        "~nobody/x",
        "a/b/c",
        "a b",
        "a--b",
        "x\x1b[31m",
        "<script>",
        "a/",
        "name..x",
        "",
    ],
)
def test_what_can_be_no_name_is_refused_and_becomes_no_path(name: str) -> None:
    with pytest.raises((InvalidInputError, UnavailableError)):
        find(name, "hub")


def test_a_revision_cannot_leave_the_cache(hub_cache: Path) -> None:
    cache_repo(hub_cache, "models--a--b", CHECKPOINT)
    with pytest.raises(InvalidInputError, match="is not a revision of"):
        find("a/b", revision="../../../etc/passwd")


def test_a_revision_where_there_are_none_is_refused() -> None:
    for name in ("embedded/bert-cased", "./x", "minilm"):
        with pytest.raises(InvalidInputError, match="pins a commit"):
            find(name, revision="v1")


def test_a_damaged_ref_counts_as_not_cached(hub_cache: Path) -> None:
    cache_repo(hub_cache, "models--bert-base-uncased", CHECKPOINT)
    (hub_cache / "models--bert-base-uncased/refs/main").write_text("../../elsewhere")
    assert find("bert-base-uncased").stand_in


@pytest.mark.parametrize("mode", ["auto", "hub", "embedded"])
@pytest.mark.parametrize(
    "name", ["bert-base-uncased", "roberta-base", "minilm", "embedded/distilbert", "./x", "a b"]
)
def test_peeking_is_one_line_and_leaves_the_disk_alone(name: str, mode: AssetsMode, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    assert "\n" not in peek_checkpoint(name, None, mode)
    assert sorted(tmp_path.rglob("*")) == before
