"""Converting: every published name is used or dropped on purpose, and what comes out is the model that went in."""

from __future__ import annotations

import json
import math
import pickle
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from vglamm import checkpoint
from vglamm.config import ModelConfig
from vglamm.convert import Conversion, convert_folder, rules, translate
from vglamm.errors import CheckpointError
from vglamm.model import VideoGLaMM
from vglamm.presets import preset

# ours -> published, written by hand and not from the tables
BACK = [
    (r"vision\.temporal\.patch_embed\.", "model.vision_tower.vision_encoder.patch_embed.proj."),
    (r"vision\.temporal\.", "model.vision_tower.vision_encoder."),
    (r"vision\.spatial\.clip\.", "model.image_vision_tower.vision_tower.vision_model."),
    (r"vision\.temporal_adapter\.fc1", "model.mm_projector.0"),
    (r"vision\.temporal_adapter\.fc2", "model.mm_projector.2"),
    (r"vision\.spatial_adapter\.fc1", "model.image_mm_projector.0"),
    (r"vision\.spatial_adapter\.fc2", "model.image_mm_projector.2"),
    (r"language\.lm\.", ""),
    (r"language\.projector\.fc1", "model.text_hidden_fcs.0.0"),
    (r"language\.projector\.fc2", "model.text_hidden_fcs.0.2"),
    (r"pixel\.sam\.(memory_encoder\.fuser\.layers\.\d)\.gamma", r"model.visual_model.\1.weight"),
    (r"pixel\.sam\.", "model.visual_model."),
]
CLIP, INTERN, SAM = (
    "model.image_vision_tower.vision_tower.vision_model.",
    "model.vision_tower.vision_encoder.",
    "model.visual_model.",
)
NEVER_RUN = {
    f"{INTERN}blocks.1.norm1.weight": (4,),
    f"{INTERN}clip_projector.cross_attn.q_bias": (4,),
    f"{INTERN}clip_decoder.0.head.weight": (4, 4),
    f"{INTERN}final_clip_decoder.norm.weight": (4,),
    f"{INTERN}clip_pos_embed": (1, 5, 4),
    f"{INTERN}img_pos_embed": (1, 5, 4),
    "model.vision_tower.vision_proj.weight": (4, 4),
    f"{CLIP}encoder.layers.1.mlp.fc1.bias": (4,),
    f"{CLIP}post_layernorm.weight": (4,),
}


def sizes() -> ModelConfig:
    tiny = preset("tiny")
    vision = replace(tiny.vision, spatial=replace(tiny.vision.spatial, layers=2), temporal=replace(tiny.vision.temporal, depth=2))
    lm = tiny.language.lm | {"num_hidden_layers": 1, "sliding_window": 2047, "bos_token_id": 1, "eos_token_id": 0}
    language = replace(tiny.language, lm=lm, seg_token=9, stop_tokens=(0, 1, 7))
    return replace(tiny, vision=vision, language=language)


def published(ours: str) -> str:
    for pattern, theirs in BACK:
        if re.match(pattern, ours):
            return re.sub(pattern, theirs, ours, count=1)
    raise AssertionError(ours)


@pytest.fixture(scope="module")
def model() -> VideoGLaMM:
    torch.manual_seed(0)
    return VideoGLaMM(sizes()).eval()


@pytest.fixture(scope="module")
def tensors(model: VideoGLaMM) -> dict[str, Tensor]:
    """The model's tensors under published names, with some that inference never uses."""
    return {published(name): value for name, value in model.state_dict().items()} | {
        name: torch.randn(shape) for name, shape in NEVER_RUN.items()
    }


def write_settings(folder: Path, **changes: Any) -> None:
    lm = sizes().language.lm
    told = lm | {
        "model_type": "VideoGLaMM_phi3",
        "vocab_size": 99999,
        "seg_token_idx": 9,
        "mm_use_im_start_end": True,
        "torch_dtype": "bfloat16",
    }
    (folder / "config.json").write_text(json.dumps(told | changes))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [0, 1, 7], "do_sample": True}))


@pytest.fixture
def release(tensors: dict[str, Tensor], tmp_path: Path) -> Path:
    """A released folder in two shards with an index."""
    folder = tmp_path / "release"
    folder.mkdir()
    names = sorted(tensors)
    shards = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for file, part in shards.items():
        save_file({name: tensors[name].contiguous() for name in part}, folder / file)
    index = {"weight_map": {name: file for file, part in shards.items() for name in part}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    write_settings(folder)
    return folder


def without(folder: Path, *prefixes: str) -> None:
    for file in folder.glob("*.safetensors"):
        save_file({name: value for name, value in load_file(file).items() if not name.startswith(prefixes)}, file)
    (folder / "model.safetensors.index.json").unlink()


def pickled(folder: Path) -> None:
    """The same weights as torch's own files."""
    (folder / "model.safetensors.index.json").unlink()
    for file in sorted(folder.glob("*.safetensors")):
        torch.save(load_file(file), folder / file.name.replace("model", "pytorch_model").replace(".safetensors", ".bin"))
        file.unlink()


def same(model: VideoGLaMM, folder: Path) -> None:
    loaded, expected = checkpoint.load(folder).state_dict(), model.state_dict()
    assert loaded.keys() == expected.keys()
    assert [name for name in expected if not torch.equal(loaded[name], expected[name])] == []


def convert(release: Path, **options: Any) -> Conversion:
    return convert_folder(release, release.parent / "ours", sizes=sizes(), **options)


@pytest.mark.parametrize("form", ["safetensors", "bin"])
def test_what_goes_in_comes_out(model: VideoGLaMM, release: Path, tensors: dict[str, Tensor], form: str) -> None:
    if form == "bin":
        pickled(release)
    done = convert(release)
    same(model, done.folder)
    assert set(done.dropped) == set(NEVER_RUN)
    assert set(done.used) | set(done.dropped) == set(tensors)
    assert done.borrowed == {}


def test_settings_come_from_the_checkpoint(release: Path) -> None:
    language = checkpoint.load_config(convert(release).folder).language
    assert language.lm["sliding_window"] == 2047
    assert language.vocab == sizes().language.vocab  # from the weights, not from the settings
    assert language.stop_tokens == (0, 1, 7)
    assert language.seg_token == 9
    assert language.wrap_visual
    assert "torch_dtype" not in language.lm


def test_the_tokenizer_is_copied_and_its_seg_counts(release: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"a": 0, "<|end|>": 5, "[UNK]": 2}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]")
    tokenizer.add_tokens(["[SEG]"])
    tokenizer.save_pretrained(release)
    done = convert(release)
    assert checkpoint.load_tokenizer(done.folder)("a [SEG]")["input_ids"] == [0, done.config.language.seg_token]
    assert done.config.language.stop_tokens == (0, 1, 5, 7)


def test_a_dtype_is_for_parameters_only(release: Path) -> None:
    loaded = checkpoint.load(convert(release, dtype="bfloat16").folder)
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.bfloat16}
    assert loaded.pixel.sam.sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix.dtype == torch.float32


def test_an_unknown_tensor_is_an_error_that_names_it(release: Path) -> None:
    save_file({"model.audio_tower.weight": torch.zeros(1)}, release / "model-00003.safetensors")
    with pytest.raises(CheckpointError, match=r"1 unknown tensors: model\.audio_tower\.weight"):
        convert(release)


def test_a_tensor_that_the_part_does_not_know_is_an_error_that_names_it(release: Path) -> None:
    save_file({f"{SAM}no_such_thing": torch.zeros(1)}, release / "model-00003.safetensors")
    with pytest.raises(CheckpointError, match=r"1 extra: pixel\.sam\.no_such_thing"):
        convert(release)


def test_a_missing_tensor_is_an_error_that_names_it(release: Path) -> None:
    without(release, "model.norm.weight")
    with pytest.raises(CheckpointError, match=r"1 missing: language\.lm\.model\.norm\.weight"):
        convert(release)


def test_a_tower_with_a_hole_is_not_filled_from_elsewhere(release: Path, model: VideoGLaMM) -> None:
    without(release, f"{CLIP}pre_layrnorm")
    with pytest.raises(CheckpointError, match=r"2 missing: vision\.spatial\.clip\.pre_layrnorm\.bias"):
        convert(release, clip=clip_file(model, release.parent, ""))


def test_a_missing_shard_is_named(release: Path) -> None:
    (release / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"without model-00002-of-00002\.safetensors"):
        convert(release)


def test_a_tensor_in_two_files_is_named(release: Path, tensors: dict[str, Tensor]) -> None:
    save_file({"lm_head.weight": tensors["lm_head.weight"]}, release / "model-old.safetensors")
    with pytest.raises(CheckpointError, match=r"lm_head\.weight in several files"):
        convert(release)


def clip_file(model: VideoGLaMM, folder: Path, prefix: str) -> Path:
    """CLIP as it is published, whole or vision alone, in a folder."""
    place = folder / "clip"
    place.mkdir()
    own = {f"{prefix}{name}": value for name, value in model.vision.spatial.clip.state_dict().items()}
    own[f"{prefix}post_layernorm.bias"] = torch.zeros(4)
    if prefix:
        own |= {
            "text_model.embeddings.x": torch.zeros(4),
            "logit_scale": torch.zeros(()),
            "visual_projection.weight": torch.zeros(4),
        }
        own[f"{prefix}embeddings.position_ids"] = torch.zeros(4)
    save_file(own, place / "model.safetensors")
    return place


@pytest.mark.parametrize("prefix", ["", "vision_model."])
def test_a_checkpoint_without_clip_takes_clips_own_weights_and_says_so(model: VideoGLaMM, release: Path, prefix: str) -> None:
    without(release, "model.image_vision_tower.")
    told: list[str] = []
    done = convert(release, clip=clip_file(model, release.parent, prefix), report=told.append)
    same(model, done.folder)
    assert list(done.borrowed) == ["CLIP"]
    assert any("CLIP: not in the checkpoint" in line for line in told)


def test_clip_comes_from_its_usual_place_and_its_absence_is_said(release: Path) -> None:
    without(release, "model.image_vision_tower.")
    with pytest.raises(CheckpointError, match=r"without CLIP, and nothing at openai/clip-vit-large-patch14-336"):
        convert(release)


def intern_file(model: VideoGLaMM, folder: Path, **changes: Tensor) -> Path:
    tower = model.vision.temporal.state_dict()
    own = {published(f"vision.temporal.{name}").removeprefix("model.vision_tower."): value for name, value in tower.items()}
    own |= {
        name: torch.zeros(4) for name in ("text_encoder.bert.x", "itm_head.weight", "temp", "text_proj.bias", "vision_proj.bias")
    }
    own |= {"vision_encoder.img_pos_embed": torch.zeros(4), "vision_encoder.blocks.1.norm1.weight": torch.zeros(4)}
    torch.save({"module": own | {f"vision_encoder.{name}": value for name, value in changes.items()}}, folder / "stage2.pt")
    return folder / "stage2.pt"


def test_internvideo2s_own_file(model: VideoGLaMM, release: Path) -> None:
    without(release, "model.vision_tower.")
    with pytest.raises(CheckpointError, match=r"without InternVideo2.*--internvideo2"):
        convert(release)
    done = convert(release, internvideo2=intern_file(model, release.parent))
    same(model, done.folder)
    assert "vision_encoder.img_pos_embed" in done.dropped


def test_positions_for_other_frames_are_never_interpolated(model: VideoGLaMM, release: Path) -> None:
    without(release, "model.vision_tower.")
    _, _, width = model.vision.temporal.pos_embed.shape
    longer = intern_file(model, release.parent, pos_embed=torch.zeros(1, 1 + 8 * 64, width))
    with pytest.raises(CheckpointError, match=r"positions \[1, 513, \d+\].*never interpolated"):
        convert(release, internvideo2=longer)


@pytest.mark.parametrize("told", [b"caf\xe9", b"{", b"{}", b"[1, 2]", b"3"])
def test_an_index_and_a_config_that_cannot_be_read_are_named(release: Path, told: bytes) -> None:
    (release / "model.safetensors.index.json").write_bytes(told)
    with pytest.raises(CheckpointError, match=r"index\.json, which is no index"):
        convert(release)
    (release / "model.safetensors.index.json").unlink()
    (release / "config.json").write_bytes(told)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        convert(release)


def test_sam2s_own_file(model: VideoGLaMM, release: Path) -> None:
    without(release, SAM)
    own = release.parent / "sam2.pt"
    torch.save({"model": dict(model.pixel.sam.state_dict())}, own)
    assert any(name.endswith("fuser.layers.0.gamma") for name in model.pixel.sam.state_dict())
    with pytest.raises(CheckpointError, match=r"without SAM 2.*--sam2"):
        convert(release)
    same(model, convert(release, sam2=own).folder)


@pytest.mark.parametrize("source", ["memory://towers/sam2.pt", "memory://towers"])
def test_a_towers_file_far_away(model: VideoGLaMM, release: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    """Alone, or as all that is in its folder."""
    monkeypatch.setattr(Path, "home", lambda: release.parent)
    without(release, SAM)
    torch.save({"model": dict(model.pixel.sam.state_dict())}, release.parent / "sam2.pt")
    system = fsspec.filesystem("memory")
    system.put(str(release.parent / "sam2.pt"), "/towers/sam2.pt")
    try:
        same(model, convert(release, sam2=source).folder)
    finally:
        system.rm("/towers", recursive=True)


def test_a_tower_that_is_there_is_not_replaced(model: VideoGLaMM, release: Path) -> None:
    told: list[str] = []
    done = convert(release, sam2="no such file", report=told.append)
    assert done.borrowed == {}
    assert "SAM 2: in the checkpoint, so no such file is not used" in told


class Bomb:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Path.touch, (self.canary,)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol:UserWarning")
@pytest.mark.parametrize("writer", [pickle.dump, torch.save])
@pytest.mark.parametrize("name", ["pytorch_model.bin", "weights.pt"])
def test_a_malicious_pickle_is_refused(release: Path, tmp_path: Path, writer: Any, name: str) -> None:
    pickled(release)
    canary = tmp_path / "canary"
    with (release / name).open("wb") as file:
        writer({"lm_head.weight": Bomb(canary)}, file)
    with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
        convert(release)
    assert not canary.exists()


def test_what_is_no_tensor_is_named(release: Path) -> None:
    torch.save({"epoch": 3, "lm_head.weight": torch.zeros(1)}, release.parent / "mixed.pt")
    without(release, SAM)
    with pytest.raises(CheckpointError, match=r"mixed\.pt with epoch, which are no tensors"):
        convert(release, sam2=release.parent / "mixed.pt")


def test_a_folder_is_not_converted_onto_itself(release: Path) -> None:
    before = (release / "config.json").read_text()
    with pytest.raises(CheckpointError, match="as source and target"):
        convert_folder(release, release, sizes=sizes())
    assert (release / "config.json").read_text() == before


def test_a_tied_head_is_stored_once(release: Path) -> None:
    without(release, "lm_head")
    write_settings(release, tie_word_embeddings=True)
    loaded = checkpoint.load(convert(release).folder)
    assert loaded.language.lm.get_output_embeddings().weight is loaded.language.lm.get_input_embeddings().weight


def test_every_released_name_is_used_or_dropped_on_purpose(assets: Path) -> None:
    """All 2069 names of the full-size model, against the model that the preset ``phi3`` builds."""
    given: dict[str, list[int]] = json.loads((assets / "golden" / "released_keys.json").read_text())
    assert len(given) == 2069
    assert sum(math.prod(shape) for shape in given.values()) == 5_435_112_882
    model = checkpoint.skeleton(preset("phi3"))
    found = translate(given, rules(preset("phi3")))
    expected = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    assert {ours: given[theirs] for theirs, ours in found.items() if ours is not None} == expected
    dropped = {re.sub(r"\d+", "N", theirs) for theirs, ours in found.items() if ours is None}
    kinds = (
        "clip_projector",
        "clip_decoder",
        "final_clip_decoder",
        "pos_embed",
        "vision_proj",
        "blocks.N",
        "layers.N",
        "post_layernorm",
    )
    assert [name for name in dropped if not any(kind in name for kind in kinds)] == []
    assert not any(name == f"{INTERN}pos_embed" for name in dropped)


@pytest.mark.parametrize("name", ["", "model", "model.layers", "vision.temporal.pos_embed", "model.visual_modelx.a"])
def test_no_rule_takes_a_stranger(name: str) -> None:
    with pytest.raises(CheckpointError, match="1 unknown tensors"):
        translate([name], rules(preset("phi3")))


def test_two_tensors_for_one_place_are_refused() -> None:
    fuser = f"{SAM}memory_encoder.fuser.layers.0."
    with pytest.raises(CheckpointError, match=r"several tensors for pixel\.sam\.memory_encoder\.fuser\.layers\.0\.gamma"):
        translate([f"{fuser}weight", f"{fuser}gamma"], rules(preset("phi3")))
