"""The whole comparison with the published numbers, run as a user runs it; and that it fails where it should.

``assets/golden`` is the published folder without its long case. Of that one (20 frames, six objects), ``assets/golden_long`` has
the video's inputs and every third pixel of its masks each way.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.parity import golden, golden_files

GOLDEN = Path(__file__).parent.parent / "assets" / "golden"
LONG = GOLDEN.with_name("golden_long")
CASES = ("case0", "case2", "case3")


def run(folder: Path) -> tuple[int, list[dict]]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.parity.golden", str(folder)],
        cwd=GOLDEN.parent.parent.parent,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def copy_of_case(tmp_path: Path) -> Path:
    shutil.copytree(GOLDEN / "case0", tmp_path / "case0")
    shutil.copy(GOLDEN / "weights.safetensors", tmp_path)
    return tmp_path / "case0"


def change(file: Path, **tensors: torch.Tensor) -> None:
    save_file({**load_file(file), **tensors}, file)


def test_every_published_number_is_reproduced():
    status, rows = run(GOLDEN)
    assert [row for row in rows if not row["ok"]] == []
    assert status == 0
    named = {(row["case"], row["name"]) for row in rows}
    for case in CASES:
        assert {(case, name) for name in load_file(GOLDEN / case / "expected.safetensors")} <= named
    assert {"preprocess", "prompts", "gcg0", "jf0", "tiou0"} <= {case for case, _ in named}


def run_here(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[dict]]:
    status = golden.main(str(folder))
    return status, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_perturbed_value_and_an_unknown_quantity_make_it_fail(tmp_path, capsys):
    case = copy_of_case(tmp_path)
    logits = load_file(case / "expected.safetensors")["segment_video.mask_logits"]
    logits[-1, 0, 5, 7] += 0.01
    change(case / "expected.safetensors", **{"segment_video.mask_logits": logits, "video.mood": torch.zeros(3)})
    status, rows = run_here(case, capsys)
    assert status == 1
    assert {row["name"] for row in rows if not row["ok"]} == {"segment_video.mask_logits", "video.mood"}


def test_a_case_without_training_is_compared_without_it_and_what_is_no_number_fails(tmp_path, capsys):
    case = copy_of_case(tmp_path)
    expected = {
        name: value for name, value in load_file(case / "expected.safetensors").items() if name.startswith(("video.", "train.l"))
    }
    expected["video.visual_tokens"][0, 0] = float("nan")
    given = {name: value for name, value in load_file(case / "inputs.safetensors").items() if name.startswith("video.")}
    save_file(expected, case / "expected.safetensors")
    save_file(given, case / "inputs.safetensors")
    status, rows = run_here(case, capsys)
    assert status == 1
    assert {row["name"]: row["max_abs"] for row in rows if not row["ok"]} == {"video.visual_tokens": None, "train.loss": None}
    assert {row["name"] for row in rows} == set(expected)


BREAKS = {
    "no weights": lambda case: (case / "weights.safetensors").unlink(),
    "no expected": lambda case: (case / "expected.safetensors").unlink(),
    "override": lambda case: retold(case, weight_overrides={"no.such.weight": 1.0}),
    "chunk": lambda case: retold(case, temporal_encoder={"chunk_size": 3}),
    "feature": lambda case: retold(case, spatial_encoder={"select_feature": "cls_patch"}),
    "pool": lambda case: retold(case, adapters={"spatial_pool": [3, 2]}),
}


def retold(case: Path, **changes) -> None:
    tree = json.loads((case / "config.json").read_text())
    for name, value in changes.items():
        tree[name] = {**tree[name], **value} if isinstance(value, dict) else value
    (case / "config.json").write_text(json.dumps(tree))


@pytest.mark.parametrize("how", BREAKS)
def test_a_case_that_breaks_is_a_failure_and_the_others_are_compared(how, tmp_path, capsys):
    whole = how == "no expected"  # once is enough
    for name, source in (("first", "case0"), *([("second", "case2")] if whole else [])):
        shutil.copytree(GOLDEN / source, tmp_path / name)
        shutil.copy(GOLDEN / "weights.safetensors", tmp_path / name)
    BREAKS[how](tmp_path / "first")
    shutil.copy(GOLDEN / golden_files.PROMPTS, tmp_path)
    status, rows = run_here(tmp_path, capsys)
    assert status == 1
    failed = [row for row in rows if not row["ok"]]
    assert {row["case"] for row in failed} == {"first"}
    assert failed[0]["why"]
    assert {"prompts", *(["second"] if whole else [])} <= {row["case"] for row in rows}


def test_inputs_of_other_types_scalars_and_an_answer_without_masks_are_compared(tmp_path, capsys):
    case = copy_of_case(tmp_path)
    given = load_file(case / "inputs.safetensors")
    save_file(
        {name: value.double() if value.is_floating_point() else value for name, value in given.items()}, case / "inputs.safetensors"
    )
    expected = load_file(case / "expected.safetensors")
    retold(case, grounding={"seg_token_id": 150}, llm={"max_position_embeddings": 128})
    for name in ("segment_frames.mask_logits", "segment_video.mask_logits"):
        expected[name] = expected[name][:, :0].contiguous()
    expected["generate.seg_embeds"] = expected["generate.seg_embeds"][:0].contiguous()
    save_file({name: value for name, value in expected.items() if not name.startswith("train.")}, case / "expected.safetensors")
    status, rows = run_here(case, capsys)
    assert [row for row in rows if not row["ok"]] == []
    assert status == 0
    assert {"segment_frames.mask_logits", "segment_video.mask_logits"} <= {row["name"] for row in rows}


def test_scalars_are_compared_however_they_are_stored():
    for got, want in ((torch.ones(1), torch.tensor(1.0)), (torch.tensor(1.0), torch.ones(1))):
        assert golden.row("a", "loss", got, want, 0.0)["ok"]
    assert not golden.row("a", "loss", torch.ones(2), torch.tensor(1.0), 0.0)["ok"]


def test_what_a_case_says_of_sam_2_is_heeded(tmp_path):
    case = copy_of_case(tmp_path)
    sam = json.loads((case / "config.json").read_text())["grounding"]["sam2"]
    changed = sam | {"binarize_mask_from_pts_for_mem_enc": False, "dynamic_multimask_stability_thresh": 0.5}
    retold(case, grounding={"sam2": changed | {"dynamic_multimask_stability_delta": 0.25}})
    built = golden.Case.load(case).model.pixel.sam
    assert built.binarize_mask_from_pts_for_mem_enc is False
    assert built.sam_mask_decoder.dynamic_multimask_stability_thresh == 0.5
    assert built.sam_mask_decoder.dynamic_multimask_stability_delta == 0.25


def test_a_folder_without_anything_fails(tmp_path, capsys):
    status, rows = run_here(tmp_path, capsys)
    assert (status, [row["ok"] for row in rows]) == (1, [False])


def test_the_long_case_through_memories_and_pointers(tmp_path):
    shutil.copytree(LONG, tmp_path / "case1")
    shutil.copy(GOLDEN / "weights.safetensors", tmp_path)
    case = golden.Case.load(tmp_path / "case1")
    made = case.video()
    assert case.inputs["video.grounding_pixels"].shape[0] == 20
    assert made["segment_video.mask_logits"][0].shape[1] == 6
    for name, want in case.expected.items():
        got, tol, _ = made[name.partition("[")[0]]
        if "[" in name:
            got = got[:, :, ::3, ::3]
        assert golden.row("case1", name, got, want, tol)["ok"], name


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name in (golden_files.INPUTS, golden_files.EXPECTED, golden_files.PROMPTS):
        shutil.copy(GOLDEN / name, tmp_path / name)
    return tmp_path


def test_prompts_of_images_are_told_by_their_text_and_not_by_their_names(files):
    tree = json.loads((files / golden_files.PROMPTS).read_text())
    for texts in tree.values():
        texts["chat_photo"], texts["video_no_image"] = texts.pop("chat_image"), texts.pop("chat_video")
    (files / golden_files.PROMPTS).write_text(json.dumps(tree))
    assert failed(files) == []


def failed(folder: Path) -> list[str]:
    return [record["name"] for record in golden_files.compare(folder) if not record["ok"]]


def test_files_of_other_names_and_slices_are_compared(files):
    inputs, expected = load_file(files / golden_files.INPUTS), load_file(files / golden_files.EXPECTED)
    [(name, values)] = [(name, values) for name, values in expected.items() if name.startswith("spatial")]
    save_file({"frames.park 2": inputs["frames.bikes"]}, files / golden_files.INPUTS)
    save_file({"spatial_pixels.park 2[1:,:,::8,::4]": values[1:, :, ::2].contiguous()}, files / golden_files.EXPECTED)
    records = list(golden_files.compare(files))
    assert [record["name"] for record in records if record["case"] == "preprocess"] == ["spatial_pixels.park 2[1:,:,::8,::4]"]
    assert all(record["ok"] for record in records)
    assert name.endswith("[:,:,::4,::4]")


def test_a_wrong_pixel_a_wrong_shape_and_what_is_not_understood_are_failures(files):
    expected = load_file(files / golden_files.EXPECTED)
    wrong = {name: values.clone() for name, values in expected.items()}
    by_stream = {name.partition("_")[0] + name.partition("_")[2][:3]: name for name in wrong}
    wrong[by_stream["temporalpix"]][0, 0, 3, 3] += 3.5 / 255 / 0.229
    wrong[by_stream["groundingres"]] += 1
    wrong[by_stream["spatialpix"]] = wrong[by_stream["spatialpix"]][:, :, 1:].contiguous()
    wrong["depth_pixels.bikes"] = torch.zeros(3)
    save_file(wrong, files / golden_files.EXPECTED)
    change(files / golden_files.INPUTS, **{"frames.spare": torch.zeros(1, 4, 4, 3, dtype=torch.uint8)})
    found = failed(files)
    assert len(found) == 5
    for word in ("temporal_pixels", "grounding_resize", "spatial_pixels", "depth_pixels", "frames.spare"):
        assert any(word in name for name in found), word


@pytest.mark.parametrize(
    "edit",
    [
        lambda tree: tree["use_im_start_end=True"].update(chat_video=tree["use_im_start_end=False"]["chat_video"]),
        lambda tree: tree["use_im_start_end=False"].update(chat_image="<|user|>\nwhat?"),
        lambda tree: tree["use_im_start_end=False"].update(numbers=[3]),
        lambda tree: tree.update(other={}),
        lambda tree: tree["use_im_start_end=False"]["train_video_two_turns"].append(
            tree["use_im_start_end=False"]["train_video_two_turns"][0].replace("helpful", "kind")
        ),
    ],
)
def test_another_string_is_a_failure(files, edit):
    tree = json.loads((files / golden_files.PROMPTS).read_text())
    edit(tree)
    (files / golden_files.PROMPTS).write_text(json.dumps(tree))
    assert len(failed(files)) == 1
