"""Checkpoints: what is saved is what is loaded, whole or by part, from every kind of place; anything else is refused by name."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import pytest
import torch
from safetensors.torch import load_file, save_file

from vglamm import checkpoint
from vglamm.config import ModelConfig
from vglamm.errors import CheckpointError, ConfigError, EnvironmentProblem
from vglamm.language.config import LoraSettings
from vglamm.model import VideoGLaMM
from vglamm.presets import preset


def config(**changes: Any) -> ModelConfig:
    """A model of two seconds: ``tiny`` with one layer of everything."""
    tiny = preset("tiny")
    lm = tiny.language.lm | {"num_hidden_layers": 1} | changes.pop("lm", {})
    vision = replace(tiny.vision, spatial=replace(tiny.vision.spatial, layers=2), temporal=replace(tiny.vision.temporal, depth=2))
    return replace(tiny, vision=vision, language=replace(tiny.language, lm=lm, **changes), name="test")


@pytest.fixture(scope="module")
def model() -> VideoGLaMM:
    torch.manual_seed(0)
    return VideoGLaMM(config()).eval()


@pytest.fixture(scope="module")
def saved(model: VideoGLaMM, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint.save(model, tmp_path_factory.mktemp("saved") / "model")


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "copy"))


def same(ours: torch.nn.Module, theirs: torch.nn.Module) -> None:
    mine, other = ours.state_dict(), theirs.state_dict()
    assert mine.keys() == other.keys()
    assert [name for name in mine if not torch.equal(mine[name], other[name])] == []


def test_a_config_that_is_not_utf8_is_refused(folder: Path) -> None:
    (folder / "config.json").write_text('{"name": "café"}', encoding="latin-1")
    with pytest.raises(ConfigError, match=r"config\.json, which is not UTF-8"):
        checkpoint.load_config(folder)


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("language.lm.hidden_act", "nosuch", "nosuch"),
        ("language.lm.num_hidden_layers", "six", "num_hidden_layers"),
        ("language.lm.rope_scaling", {"type": "nosuch"}, "rope"),
        ("language.lm.hidden_size", "abc", "abc"),
        ("language.lm.model_type", "clip", "CLIP"),
        ("vision.spatial.activation", "nosuch", "nosuch"),
        ("pixel.mean", [1.0, 2.0], "RuntimeError"),
    ],
)
def test_a_value_that_only_a_library_knows_to_be_wrong_is_an_error_of_the_config(
    folder: Path, place: str, value: Any, said: str
) -> None:
    told = json.loads((folder / "config.json").read_text())
    *way, last = place.split(".")
    inner = told
    for name in way:
        inner = inner[name]
    inner[last] = value
    (folder / "config.json").write_text(json.dumps(told))
    with pytest.raises(ConfigError, match=rf"(the config of 'test'.*|language\.lm\.hidden_size='){said}"):
        checkpoint.load(folder)


def test_a_folder_holds_one_file_for_each_part(saved: Path) -> None:
    names = {"config.json", "README.md", "vision.safetensors", "language.safetensors", "pixel.safetensors"}
    assert {file.name for file in saved.iterdir()} == names
    assert "# test" in (saved / "README.md").read_text()


def test_what_is_saved_is_what_is_loaded(model: VideoGLaMM, saved: Path) -> None:
    loaded = checkpoint.load(saved)
    same(model, loaded)
    assert loaded.config == model.config
    assert not loaded.training
    buffers = dict(loaded.named_buffers())
    assert [name for name, value in model.named_buffers() if not torch.equal(value, buffers[name])] == []


def test_the_library_reads_what_we_write(model: VideoGLaMM, saved: Path) -> None:
    for part in ("vision", "language", "pixel"):
        theirs, ours = load_file(saved / f"{part}.safetensors"), getattr(model, part).state_dict()
        assert theirs.keys() == ours.keys()
        assert all(torch.equal(theirs[name], ours[name]) for name in ours)


def test_a_part_needs_only_its_own_file(model: VideoGLaMM, folder: Path) -> None:
    for part, others in (("language", ("vision", "pixel")), ("pixel", ("vision", "language"))):
        alone = Path(shutil.copytree(folder, folder.parent / part))
        for other in others:
            (alone / f"{other}.safetensors").unlink()
        same(getattr(model, part), checkpoint.load(alone, part=part))  # type: ignore[call-overload]


def test_an_unknown_part_is_refused(saved: Path) -> None:
    with pytest.raises(CheckpointError, match=r"'audio'.*vision, language, pixel"):
        checkpoint.load(saved, part="audio")  # type: ignore[call-overload]


def test_a_dtype_is_for_parameters_only(model: VideoGLaMM, saved: Path, tmp_path: Path) -> None:
    half = checkpoint.load(saved, dtype="bfloat16")
    assert {parameter.dtype for parameter in half.parameters()} == {torch.bfloat16}
    assert {buffer.dtype for buffer in half.buffers() if buffer.is_floating_point()} == {torch.float32}
    stored = checkpoint.load(checkpoint.save(model, tmp_path / "half", dtype="bfloat16"))
    same(half, stored)
    for unfit in ("int8", "float64", "float8_e5m2", "nothing"):
        with pytest.raises(ConfigError, match=unfit):
            checkpoint.load(saved, dtype=unfit)


@pytest.mark.parametrize(
    ("device", "error"),
    [
        ("nonsense", ConfigError),
        ("cuda:x", ConfigError),
        ("meta", ConfigError),
        ("cuda:99", EnvironmentProblem),
        ("xla", EnvironmentProblem),
    ],
)
def test_a_device_that_is_not_there_is_said_before_anything_is_read(device: str, error: type[Exception]) -> None:
    with pytest.raises(error, match=device):
        checkpoint.load("no/such/place", device=device)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("projector.fc1.bias"), r"1 missing: projector\.fc1\.bias"),
        (lambda t: t.update(stray=torch.zeros(1)), "1 extra: stray"),
        (lambda t: t.update({"projector.fc1.bias": torch.zeros(3)}), r"1 of another shape: projector\.fc1\.bias \[3\] for \[\d+\]"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_by_name(folder: Path, change: Any, message: str) -> None:
    tensors = load_file(folder / "language.safetensors")
    change(tensors)
    save_file(tensors, folder / "language.safetensors")
    with pytest.raises(CheckpointError, match=message):
        checkpoint.load(folder)


class Bomb:
    """Unpickling it writes a file."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Path.touch, (self.canary,)


@pytest.mark.parametrize("name", ["language.safetensors", "pytorch_model.bin", "language.pt"])
@pytest.mark.parametrize("writer", [pickle.dump, torch.save])
def test_a_pickle_is_never_opened(folder: Path, tmp_path: Path, name: str, writer: Any) -> None:
    canary = tmp_path / "canary"
    (folder / "language.safetensors").unlink()
    with (folder / name).open("wb") as file:
        writer({"projector.fc1.bias": Bomb(canary)}, file)
    with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
        checkpoint.load(folder)
    assert not canary.exists()


def test_a_damaged_file_is_refused(folder: Path) -> None:
    whole = (folder / "pixel.safetensors").read_bytes()
    (folder / "pixel.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=r"pixel\.safetensors"):
        checkpoint.load(folder)


def test_a_folder_without_config_is_no_checkpoint(folder: Path) -> None:
    (folder / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"without config\.json"):
        checkpoint.load(folder)


def test_a_save_that_breaks_off_does_not_load(model: VideoGLaMM, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("vglamm.checkpoint.write_rest", full)
    with pytest.raises(OSError, match="no space"):
        checkpoint.save(model, folder)
    with pytest.raises(CheckpointError, match=r"without config\.json"):
        checkpoint.load(folder)


def test_tied_weights_are_stored_once_and_stay_tied(tmp_path: Path) -> None:
    model = VideoGLaMM(config(lm={"tie_word_embeddings": True}))
    folder = checkpoint.save(model, tmp_path / "tied")
    assert len(load_file(folder / "language.safetensors")) == len(model.language.state_dict()) - 1
    loaded = checkpoint.load(folder)
    same(model, loaded)
    assert loaded.language.lm.get_output_embeddings().weight is loaded.language.lm.get_input_embeddings().weight


def lora_model() -> VideoGLaMM:
    model = VideoGLaMM(config(lora=LoraSettings(rank=2, alpha=4, dropout=0.0))).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.normal_(std=0.1)
    return model


def answer(model: VideoGLaMM) -> torch.Tensor:
    ids = torch.arange(3, 40)[None]
    hidden, _ = model.language.prefill(model.language.embed(ids), torch.ones_like(ids), cached=False)
    return model.language.logits(hidden).detach()


def test_lora_comes_back_as_lora(tmp_path: Path) -> None:
    model = lora_model()
    loaded = checkpoint.load(checkpoint.save(model, tmp_path / "lora"))
    assert loaded.config.language.lora == model.config.language.lora
    same(model, loaded)
    assert torch.equal(answer(loaded), answer(model))


def test_lora_can_be_folded_in(tmp_path: Path) -> None:
    model = lora_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    plain = checkpoint.load(checkpoint.save(model, tmp_path / "merged", merge_lora=True))
    assert plain.config.language.lora is None
    assert not any("lora" in name for name in plain.state_dict())
    torch.testing.assert_close(answer(plain), answer(model), atol=1e-5, rtol=1e-5)
    zeroed = VideoGLaMM(plain.config).eval()
    zeroed.load_state_dict({name.replace(".base_layer", ""): value for name, value in before.items() if "lora_" not in name})
    assert (answer(zeroed) - answer(model)).abs().max() > 1e-3  # else the adapters did nothing and the test shows nothing
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_gathered_tensors_are_written_in_place_of_the_models(model: VideoGLaMM, tmp_path: Path) -> None:
    state = {name: torch.zeros_like(value) for name, value in model.state_dict().items()}
    loaded = checkpoint.load(checkpoint.save(model, tmp_path / "zeros", state=state))
    assert all(not value.any() for value in loaded.parameters())
    state.pop("language.projector.fc1.bias")
    with pytest.raises(CheckpointError, match=r"missing: language\.projector\.fc1\.bias"):
        checkpoint.save(model, tmp_path / "partial", state=state)


@pytest.fixture
def memory(saved: Path) -> Iterator[str]:
    system = fsspec.filesystem("memory")
    system.put(str(saved), "/bucket/model", recursive=True)
    yield "memory://bucket/model"
    system.rm("/bucket", recursive=True)


def test_a_url_is_fetched_once_and_again_when_it_changes(model: VideoGLaMM, memory: str, tmp_path: Path) -> None:
    first = checkpoint.resolve(memory, cache=tmp_path)
    same(model, checkpoint.load(first))
    assert checkpoint.resolve(memory, cache=tmp_path) == first
    fsspec.filesystem("memory").pipe("/bucket/model/README.md", b"another card")
    second = checkpoint.resolve(memory, cache=tmp_path)
    assert second != first
    assert (second / "README.md").read_text() == "another card"


def test_of_a_url_only_what_a_part_needs_is_fetched_and_never_a_pickle(memory: str, tmp_path: Path) -> None:
    fsspec.filesystem("memory").pipe("/bucket/model/pytorch_model.bin", b"pickle")
    got = {file.name for file in checkpoint.resolve(memory, part="pixel", cache=tmp_path).iterdir()}
    assert got == {"config.json", "README.md", "pixel.safetensors"}


def test_a_file_url_is_the_folder_itself(saved: Path) -> None:
    assert checkpoint.resolve(f"file://{saved}") == saved


def test_an_empty_url_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="memory://nowhere"):
        checkpoint.resolve("memory://nowhere", cache=tmp_path)


def test_a_hub_id_goes_to_the_hub_without_pickles_and_code(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def snapshot(repo: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        asked.update(repo=repo, revision=revision, patterns=allow_patterns)
        return str(saved)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    assert checkpoint.resolve("someone/model@v1") == saved
    assert (asked["repo"], asked["revision"]) == ("someone/model", "v1")
    assert not [name for name in asked["patterns"] if "*" in name or name.endswith((".bin", ".py", ".pt"))]


def test_a_hub_that_cannot_be_reached_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CheckpointError, match="someone/model, neither a folder here nor on the hub"):
        checkpoint.load("someone/model")


@pytest.mark.parametrize("place", ["/no/such/place", "nothing", "./a/b", "../up/there"])
def test_a_place_that_is_not_there_is_said(place: str) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        checkpoint.load(place)


@pytest.mark.parametrize("name", ["small", "phi3"])
def test_a_preset_without_weights_is_called_so(name: str) -> None:
    with pytest.raises(CheckpointError, match=f"{name}, a preset.*vglamm convert"):
        checkpoint.load(name)


def test_tiny_without_weights_says_how_to_get_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("vglamm.source.resources.files", lambda _: tmp_path)
    with pytest.raises(CheckpointError, match=r"no tiny weights.*train"):
        checkpoint.load("tiny")


def test_the_hash_changes_with_any_file_and_with_nothing_else(folder: Path) -> None:
    before = checkpoint.model_hash(folder)
    (folder / "README.md").write_text("another card")
    assert checkpoint.model_hash(folder) == before
    assert checkpoint.identity(folder) == f"test@{before[:12]}"
    tensors = load_file(folder / "pixel.safetensors")
    tensors["sam.no_mem_embed"] += 1
    save_file(tensors, folder / "pixel.safetensors")
    after = checkpoint.model_hash(folder)
    assert after != before
    (folder / "config.json").write_text((folder / "config.json").read_text().replace('"test"', '"other"'))
    assert checkpoint.model_hash(folder) not in (before, after)


def test_a_tokenizer_is_saved_and_loaded_and_its_absence_said(model: VideoGLaMM, saved: Path, tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"a": 0, "b": 1, "[UNK]": 2}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]")
    tokenizer.add_tokens(["[SEG]"])
    folder = checkpoint.save(model, tmp_path / "first", tokenizer=tokenizer)
    copied = checkpoint.save(model, tmp_path / "second", tokenizer=folder)
    for place in (folder, copied):
        assert checkpoint.load_tokenizer(place)("b a [SEG] c", add_special_tokens=False)["input_ids"] == [1, 0, 3, 2]
    with pytest.raises(CheckpointError, match="without a tokenizer"):
        checkpoint.load_tokenizer(saved)


def test_a_tokenizer_with_code_of_its_own_does_not_run_it(folder: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    (folder / "evil.py").write_text(f"from pathlib import Path\nPath({str(canary)!r}).touch()\nclass Evil: pass\n")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "Evil", "auto_map": {"AutoTokenizer": ["evil.Evil", null]}}')
    with pytest.raises(CheckpointError, match="does not load"):
        checkpoint.load_tokenizer(folder)
    assert not canary.exists()


def test_quantising_without_its_package_names_it(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vglamm.language.quantise.find_spec", lambda _: None)
    with pytest.raises(EnvironmentProblem, match=r"'4bit' without the package bitsandbytes.*vglamm\[quant\]"):
        checkpoint.load(saved, part="language", quantise="4bit")


@pytest.mark.parametrize("lora", [None, LoraSettings(rank=2)])
def test_a_quantised_lm_says_nearly_the_same_and_nothing_of_itself(
    lora: LoraSettings | None, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("bitsandbytes", reason="the extra `quant` is not installed")
    model = VideoGLaMM(config(lora=lora)).eval()
    folder = checkpoint.save(model, tmp_path / "whole")
    loaded = checkpoint.load(folder, quantise="8bit", dtype="float32")
    assert "Linear8bitLt" in {type(module).__name__ for module in loaded.modules()}
    assert torch.cosine_similarity(answer(loaded).flatten(), answer(model).flatten(), dim=0) > 0.99
    assert "Loading weights" not in capfd.readouterr().err
    assert "will be cast" not in caplog.text
    with pytest.raises(CheckpointError, match="a quantised model"):
        checkpoint.save(loaded, tmp_path / "again")
