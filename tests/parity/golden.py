"""Compare our model with numbers that the published code produced: ``python -m tests.parity.golden DIR``.

DIR is a case folder (config.json, inputs and expected tensors; weights in it or one level up) or a folder of cases, which may also
hold ``metrics_*``, ``preprocess_*`` and ``prompts.json``. Everything found is compared; one JSON line for each quantity; a quantity
without a comparison is a failure; exit status 1 if anything fails.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.parity import golden_files, golden_metrics
from tests.parity.golden_config import model_config
from tests.writing import written
from vglamm.convert import rules, translate
from vglamm.loss import Losses, Weights, losses
from vglamm.model import Batch, VideoGLaMM
from vglamm.pixel.decoder import Features, to_source
from vglamm.pixel.track import Tracker

FEATURES, MASKS, RELATIVE_LOSS, RELATIVE_GRAD = 1e-4, 1e-3, 1e-5, 1e-3
Row = dict[str, Any]


def row(case: str, name: str, got: Tensor, want: Tensor, tol: float, *, relative: bool = False, floor: float = 1e-12) -> Row:
    """floor: a value below it counts as it, so that what is zero but for rounding is not compared digit by digit."""
    got, want = got.detach().double().cpu(), want.double()
    if got.numel() == want.numel() == 1:  # a scalar, stored as one or as a list of one
        got = got.reshape(want.shape)
    if got.shape != want.shape:
        return failure(case, name, f"shape {list(got.shape)} not {list(want.shape)}", tol)
    error = (got - want).abs()
    if relative:
        error = error / want.abs().clamp(min=floor)
    worst = float(error.max()) if error.numel() else 0.0
    return {"case": case, "name": name, "max_abs": worst if math.isfinite(worst) else None, "tol": tol, "ok": worst <= tol}


def failure(case: str, name: str, why: str, tol: float | None = None) -> Row:
    """The row of what could not be compared."""
    return {"case": case, "name": name, "max_abs": None, "tol": tol, "ok": False, "why": why}


@dataclass
class Case:
    """One case folder: the model with its weights, its inputs and what is expected."""

    folder: Path
    settings: dict[str, Any]
    model: VideoGLaMM
    names: dict[str, str | None]
    inputs: dict[str, Tensor]
    expected: dict[str, Tensor]

    @staticmethod
    def load(folder: Path) -> Case:
        settings = json.loads((folder / "config.json").read_text())
        places = (folder / "weights.safetensors", folder.parent / "weights.safetensors")
        weights = load_file(next((path for path in places if path.exists()), places[0]))
        for name, value in settings.get("weight_overrides", {}).items():
            if name not in weights:
                raise KeyError(f"weight_overrides of {name}, which no weight is called")
            weights[name] = torch.tensor(value, dtype=weights[name].dtype).reshape(weights[name].shape)
        config = model_config(settings)
        model = VideoGLaMM(config)
        names = translate(weights, rules(config))
        state = {ours: weights[theirs] for theirs, ours in names.items() if ours is not None}
        model.load_state_dict(state, strict=True)
        expected = load_file(folder / "expected.safetensors")
        given = load_file(folder / "inputs.safetensors")
        inputs = {name: value.float() if value.is_floating_point() else value for name, value in given.items()}
        return Case(folder, settings, model.eval(), names, inputs, expected)

    def rows(self) -> Iterator[Row]:
        left = dict(self.expected)
        # key biases have no gradient but rounding (softmax does not see a shift): a hundred thousandth of the largest norm is zero
        norms = [float(value) for name, value in left.items() if name.startswith("train.grad_norm/")]
        floor = 1e-5 * max(norms, default=0.0) or 1e-12
        for given, (part, named) in {
            "video.": (self.video, ("video.", "generate.", "segment_")),
            "train.": (self.train, ("train.",)),
        }.items():
            if not any(name.startswith(given) for name in self.inputs) or not any(name.startswith(named) for name in left):
                continue  # nothing is given, so that all of it is left over, or nothing is expected
            try:
                made = part()
            except Exception as error:  # the other quantities, and the other cases, are compared all the same
                yield failure(self.folder.name, given.rstrip("."), told(error))
                continue
            for name, (got, tol, relative) in made.items():
                if name in left:
                    yield row(self.folder.name, name, got, left.pop(name), tol, relative=relative, floor=floor)
        for name in left:
            yield failure(self.folder.name, name, "found but not compared")

    @torch.no_grad()
    def video(self) -> dict[str, tuple[Tensor, float, bool]]:
        model, given = self.model, {k.removeprefix("video."): v for k, v in self.inputs.items() if k.startswith("video.")}
        spatial, temporal = model.vision.towers(given["spatial_pixels"][None], given["temporal_pixels"][None])
        assert temporal is not None
        tokens = model.vision.adapt(spatial, temporal)[0]
        ids, start = expand(given["prompt_ids"], self.settings["image_token_id"], len(tokens))
        inputs = model.language.fuse(model.language.embed(ids[None]), [tokens], [start])
        [steps] = written(model.language, [inputs[0]], self.settings["max_new_tokens"])
        made = torch.tensor([token.id for token in steps])
        whole = torch.cat([inputs, model.language.embed(made[None])], dim=1)
        last = model.language.prefill(whole, torch.ones(whole.shape[:2]), cached=False)[0][0, -1]
        seg = self.settings["grounding"]["seg_token_id"]
        hidden = torch.stack([token.hidden for token in steps])[made == seg]
        prompts = model.language.prompts_at(hidden)
        size = (int(given["original_size"][0]), int(given["original_size"][1]))
        frames = given["grounding_pixels"]
        features = Features.join([model.pixel.features(part) for part in frames.split(2)])
        out = {
            "video.spatial_features": (spatial[0], FEATURES, False),
            "video.temporal_features": (temporal[0], FEATURES, False),
            "video.visual_tokens": (tokens, FEATURES, False),
            "video.prompt_embeds": (inputs[0], FEATURES, False),
            "generate.ids": (made, 0.0, False),
            "generate.seg_embeds": (prompts, FEATURES, False),
            "generate.next_logits_last": (model.language.logits(last), FEATURES, False),
        }
        nothing = frames.new_zeros(len(frames), 0, *size)
        for name, masks in (("frames", self.by_frame), ("video", self.by_video)):
            out[f"segment_{name}.mask_logits"] = (masks(features, prompts, size) if len(prompts) else nothing, MASKS, False)
        return out

    def by_frame(self, features: Features, prompts: Tensor, size: tuple[int, int]) -> Tensor:
        count, objects = len(features), len(prompts)
        pairs = torch.arange(count).repeat_interleave(objects)
        logits = self.model.pixel.masks(features, prompts.repeat(count, 1), pairs).masks
        return to_source(logits.view(count, objects, *logits.shape[-2:]), size)

    def by_video(self, features: Features, prompts: Tensor, size: tuple[int, int]) -> Tensor:
        tracker = Tracker(self.model.pixel, prompts, len(features))
        return torch.stack([to_source(tracker.step(features[k : k + 1], k).masks, size) for k in range(len(features))])

    def train(self) -> dict[str, tuple[Tensor, float, bool]]:
        model = self.model
        model.pixel.sam.sam_mask_decoder.train()  # as published: the decoder trains, everything else stays in eval mode
        result = self.train_losses()
        result.total.backward()
        model.eval()
        out = {
            "train.loss": (result.total[None], RELATIVE_LOSS, True),
            "train.ce_loss": (result.ce[None], RELATIVE_LOSS, True),
            "train.mask_bce_loss": (result.bce[None], RELATIVE_LOSS, True),
            "train.mask_dice_loss": (result.dice[None], RELATIVE_LOSS, True),
            "train.mask_loss": ((result.bce + result.dice)[None], RELATIVE_LOSS, True),
        }
        gradients = dict(model.named_parameters())
        for theirs, ours in self.names.items():
            parameter = gradients.get(ours) if ours else None
            if parameter is not None and parameter.grad is not None:
                out[f"train.grad_norm/{theirs}"] = (parameter.grad.norm()[None], RELATIVE_GRAD, True)
        return out

    def train_losses(self) -> Losses:
        """The golden batch has normalised pixels, so its phases are called from `towers` on."""
        given = {k.removeprefix("train."): v for k, v in self.inputs.items() if k.startswith("train.")}
        video = {k.removeprefix("video."): v for k, v in self.inputs.items() if k.startswith("video.")}
        batch, pixels = train_batch(
            self.settings, given, video, self.model.config.vision.video_tokens, self.model.config.vision.image_tokens
        )
        from tests.parity.golden_train import forward_from_pixels

        output = forward_from_pixels(self.model, batch, pixels)
        weights = self.settings["loss"]
        return losses(self.model.language, output, batch, Weights(weights["ce"], weights["bce"], weights["dice"]))


def expand(ids: Tensor, placeholder: int, count: int) -> tuple[Tensor, int]:
    """Replace the run of image placeholders by ``count`` positions (id 0); returns ids and where the run starts."""
    where = (ids == placeholder).nonzero()[:, 0]
    start, stop = int(where[0]), int(where[-1]) + 1
    assert len(where) == stop - start, "placeholders must be one run"
    return torch.cat([ids[:start], ids.new_zeros(count), ids[stop:]]), start


def train_batch(
    settings: dict[str, Any], given: dict[str, Tensor], video: dict[str, Tensor], video_tokens: int, image_tokens: int
) -> tuple[Batch, dict[str, list[Any]]]:
    """The golden two samples (a video with its conversations, an image with one) as our batch, and their normalised pixels."""
    ids, labels, seen = given["input_ids"], given["labels"], given["attention_mask"].bool()
    on_video = int(given["offset"][1])
    seg = settings["grounding"]["seg_token_id"]
    rows, segs, starts, video_of = [], [], [], []
    for r in range(len(ids)):
        count = video_tokens if r < on_video else image_tokens
        row_ids, start = expand(ids[r][seen[r]], settings["image_token_id"], count)
        marked = labels[r][seen[r]].clone()
        marked[ids[r][seen[r]] == settings["image_token_id"]] = -200
        row_labels, _ = expand(marked, -200, count)
        row_labels[start : start + count] = -100
        rows.append((row_ids, row_labels))
        segs += [(r, int(p) - 1) for p in (row_ids == seg).nonzero()[:, 0] if not start <= p < start + count]
        starts.append(start)
        video_of.append(0 if r < on_video else 1)
    longest = max(len(row_ids) for row_ids, _ in rows)
    padded_ids = torch.zeros(len(rows), longest, dtype=torch.long)
    padded_labels = torch.full((len(rows), longest), -100)
    mask = torch.zeros(len(rows), longest, dtype=torch.long)
    for r, (row_ids, row_labels) in enumerate(rows):
        padded_ids[r, : len(row_ids)], padded_labels[r, : len(row_ids)], mask[r, : len(row_ids)] = row_ids, row_labels, 1
    masks = [*given["video_masks"], *given["image_masks"]]
    pixels = {
        "spatial": [video["spatial_pixels"], given["image_spatial_pixels"]],
        "temporal": [video["temporal_pixels"], None],
        "grounding": [video["grounding_pixels"][: given["video_masks"].shape[1]], given["image_grounding_pixels"]],
    }
    batch = Batch(
        spatial=pixels["spatial"],
        temporal=pixels["temporal"],
        ids_RL=padded_ids,
        labels_RL=padded_labels,
        mask_RL=mask,
        video_of=video_of,
        starts=starts,
        segs=segs,
        frames=pixels["grounding"],
        masks=masks,
    )
    return batch, pixels


def compare_case(folder: Path) -> Iterator[Row]:
    try:
        case = Case.load(folder)
    except Exception as error:  # told as a failure of this case: the others are compared all the same
        yield failure(folder.name, "load", told(error))
        return
    yield from case.rows()


def told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:500]


def compare(folder: Path) -> Iterator[Row]:
    if (folder / "config.json").exists():
        yield from compare_case(folder)
        return
    for case in sorted(path.parent for path in folder.glob("*/config.json")):
        yield from compare_case(case)
    yield from golden_files.compare(folder)
    if (folder / "metrics_expected.json").exists():
        yield from golden_metrics.compare(folder)


def main(folder: str) -> int:
    failed = found = 0
    for result in compare(Path(folder)):
        sys.stdout.write(json.dumps(result, allow_nan=False) + "\n")
        found, failed = found + 1, failed + (not result["ok"])
    if not found:
        sys.stdout.write(json.dumps({"case": folder, "name": "nothing found", "ok": False}) + "\n")
    return 1 if failed or not found else 0


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main(sys.argv[1]))
