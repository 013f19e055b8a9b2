"""Language between the two waists: it reads visual tokens, answers, and writes prompts.

With ``tokens="codes"`` it reads the codes themselves (no pixels, fast); with ``tokens="frames"`` what vision makes of real
frames; with ``masks=True`` its prompts are also judged by the masks that pixel makes of them. Many questions about a video share
one pass (:mod:`vglamm.language.branches`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from vglamm.config import typed
from vglamm.data.world.codes import rotation
from vglamm.data.world.words import KINDS
from vglamm.errors import ConfigError
from vglamm.language.branches import visibility
from vglamm.language.dialogue import IGNORED, Scribe
from vglamm.model import VideoGLaMM
from vglamm.objectives.asides import ASIDES, TIMES, frames_said, word_ids, words_asked, words_told
from vglamm.objectives.judged import exact, judged
from vglamm.objectives.questions import Item, QuestionPreparer
from vglamm.objectives.segmentation import Segmentation, mean_of
from vglamm.objectives.starts import start_words
from vglamm.vision.adapter import pool_grid


class Grounding(nn.Module):
    """Loss: cross-entropy of the answers, squared error of prompts against their codes (``code`` times), and with ``masks`` the
    loss of :class:`Segmentation` on the prompts. No weights of its own. Of each kind of question it also tells ``found_KIND``, how
    often a prompt's nearest code is that of the object it means; ``exact_KIND``, the share of one-turn answers whose every token is
    the most likely one; ``mask_iou_KIND``, the mean over prompts of the overlap over their taught frames.

    noise: standard deviation added to code tokens. hide: share of code patches blanked. fresh: the language model knows nothing yet
    and begins as :func:`start_words` says. ground: share of visual tokens without an object that a training step shows, drawn anew
    for each step between this and 1 (of 8 frames most show none, and leaving them out halves the time). frames: weight of the
    cross-entropy of :func:`frames_said`. early: weight of the same squared error where an answer and where each of its phrases
    begins, so that an object is chosen before it is named. asides: weight of the words that are asked beside each prompt
    (:mod:`vglamm.objectives.asides`). lasts: weight of the squared error of the state of each ``[SEG]``, read as a prompt, against
    the code of its object where it is last seen, by which its end is found. times: weight of the numbers in answers about time,
    beside what they weigh as words of an answer.
    """

    turn: Tensor

    def __init__(
        self,
        model: VideoGLaMM,
        tokenizer: Any,
        *,
        code: float = 1.0,
        noise: float = 0.05,
        hide: float = 0.1,
        seed: int = 0,
        fresh: bool = False,
        ground: float = 1.0,
        frames: float = 0.0,
        early: float = 0.0,
        asides: float = 0.0,
        lasts: float = 0.0,
        times: float = 0.0,
        **data: Any,
    ) -> None:
        super().__init__()
        if data.get("tokens", "codes") not in ("codes", "frames"):
            raise ConfigError(f"tokens={data['tokens']!r}", "'codes' or 'frames'", "fix the recipe")
        self.model, self.noise, self.hide, self.ground = model, noise, hide, ground
        self.code, self.frames, self.early, self.asides, self.lasts, self.times = code, frames, early, asides, lasts, times
        self.words = word_ids(tokenizer) if asides or frames or times else {}
        data = typed(QuestionPreparer, data, "settings.")
        self.settings = QuestionPreparer(model.config, Scribe(tokenizer, model.config.language), timed=times > 0, **data)
        self.segmentation = [Segmentation(model, tokenizer, fresh=False)]  # in a list: it shares the model, it is not a child
        self.register_buffer("turn", torch.from_numpy(rotation(model.config.vision.adapter_width)), persistent=False)
        if fresh:
            start_words(model, tokenizer)

    def preparer(self) -> QuestionPreparer:
        return self.settings

    @staticmethod
    def collate(items: list[Item]) -> dict[str, Any]:
        longest = max(len(item["ids"]) for item in items)

        def padded(key: str, fill: int) -> Tensor:
            rows = [np.pad(item[key], (0, longest - len(item[key])), constant_values=fill) for item in items]
            return torch.from_numpy(np.stack(rows))

        branch = padded("branch", -1)
        seen = np.stack([visibility(row.numpy()) for row in branch])
        tensors = [{key: torch.from_numpy(value) for key, value in item.items()} for item in items]
        return {
            "ids": padded("ids", 0),
            "labels": padded("labels", IGNORED),
            "positions": padded("positions", 0),
            "branch": branch,
            "seen": torch.from_numpy(seen)[:, None],
            "items": tensors,
        }

    @staticmethod
    def count(batch: dict[str, Any]) -> Tensor:
        """Supervised tokens, prompts, visible (object, frame) pairs, all pairs, tokens of videos that show something, places where
        prompts are due early, words that are asked beside, and numbers of answers about time."""
        items = batch["items"]
        prompts, early = (float(sum(len(item[places]) for item in items)) for places in ("segs", "early"))
        pairs = (
            Segmentation.count({"items": [item for item in items if "masks" in item]}) if "masks" in items[0] else torch.zeros(2)
        )
        shown = float(sum(int(item["shown"].sum()) for item in items if not bool(item["image"])))
        asked = [shown, early, words_asked(ASIDES, items), words_asked(TIMES, items) if "timed" in items[0] else 0]
        return torch.cat([torch.tensor([float((batch["labels"] != IGNORED).sum()), prompts]), pairs, torch.tensor(asked)])

    def forward(self, batch: dict[str, Any], totals: Tensor) -> dict[str, Tensor]:
        language, items = self.model.language, batch["items"]
        tokens = self._tokens(items)
        inputs = language.fuse(language.embed(batch["ids"]), tokens, [int(item["start"]) for item in items])
        hidden, halfway = self._hidden(inputs, batch)
        wanted = batch["labels"] != IGNORED
        logits = language.logits(hidden[wanted]).float()
        ce = functional.cross_entropy(logits, batch["labels"][wanted], reduction="sum") / totals[0].clamp(min=1)
        prompts = [language.prompts_at(hidden[row, item["segs"]]).float() for row, item in enumerate(items)]
        error, found = judged(prompts, items, "meant", "meant_kinds")
        error = error / totals[1].clamp(min=1)
        loss = ce + self.code * error
        terms = {"ce": ce.detach(), "code": error.detach()} | {f"found_{kind}": share for kind, share in found.items()}
        for name, weight, (aside, shares), total in self._beside(hidden, halfway, items, totals):
            aside = aside / total.clamp(min=1)
            loss, terms = loss + weight * aside, terms | {name: aside.detach()}
            terms |= {f"{name}_{kind}": share for kind, share in shares.items()}
        terms |= exact(batch, logits.argmax(-1), wanted)
        if "masks" in items[0]:
            found = self._masks(items, prompts, totals[2:4])
            loss = loss + found.pop("loss")
            terms |= {f"mask_{name}": value for name, value in found.items()}
        return {"loss": loss, **terms}

    def _beside(
        self, hidden: Tensor, halfway: Tensor, items: list[dict[str, Tensor]], totals: Tensor
    ) -> Iterator[tuple[str, float, tuple[Tensor, dict[str, Tensor]], Tensor]]:
        """Name, weight, sum, shares that are right by kind, and the number that the sum is of, of each loss beside answers and
        prompts."""
        language = self.model.language
        if self.frames:
            said = frames_said(
                language, self.model.config.vision, halfway, items, self.words["first"][: self.model.config.vision.frames]
            )
            yield "frames", self.frames, (said, {}), totals[4]
        if self.early:
            aims = [language.prompts_at(hidden[row, item["early"]]).float() for row, item in enumerate(items)]
            yield "early", self.early, judged(aims, items, "early_meant", "early_kinds"), totals[5]
        if self.asides:
            yield "asides", self.asides, words_told(ASIDES, language, hidden, items, self.words), totals[6]
        if self.lasts:
            aims = [language.prompts_at(hidden[row, item["segs"] + 1]).float() for row, item in enumerate(items)]
            told = judged(aims, [{**item, "codes": item["lasts"]} for item in items], "meant", "meant_kinds")
            yield "lasts", self.lasts, told, totals[1]
        if self.times:
            yield "times", self.times, words_told(TIMES, language, hidden, items, self.words), totals[7]

    def _hidden(self, inputs: Tensor, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Hidden states float[B, L, D], last and half way; while training some tokens of the ground are left out (zeros), the
        others keep their positions."""
        language = self.model.language
        if not (self.training and self.ground < 1):
            return language.branched(inputs, batch["seen"], batch["positions"])
        share = self.ground + (1 - self.ground) * float(torch.rand(()) ** 2)
        kept = batch["branch"] >= 0
        for row, item in enumerate(batch["items"]):
            visual = slice(int(item["start"]), int(item["start"]) + len(item["shown"]))
            kept[row, visual] = item["shown"] | (torch.rand(len(item["shown"]), device=kept.device) < share)
        order = (~kept).byte().argsort(dim=1, stable=True)[:, : int(kept.sum(1).max())]  # rows with fewer keep more of the ground
        rows = torch.arange(len(kept), device=kept.device)[:, None]
        seen = batch["seen"][rows[..., None], 0, order[:, :, None], order[:, None]][:, None]
        states = language.branched(inputs[rows, order], seen, batch["positions"][rows, order])
        last, halfway = (torch.zeros_like(inputs).index_put((rows, order), hidden) for hidden in states)
        return last, halfway

    def _masks(self, items: list[dict[str, Tensor]], prompts: list[Tensor], totals: Tensor) -> dict[str, Tensor]:
        chosen = [
            {**item, "prompts": torch.cat([p[item["picked"]], item["strangers"]])}
            for item, p in zip(items, prompts, strict=True)
            if len(item["picked"])
        ]
        if not chosen:  # a ghost prompt keeps the pixel part in the graph of every rank
            language, masks = self.model.language, items[0]["masks"]
            ghost = {
                **items[0],
                "prompts": language.prompts_at(language.embed(masks.new_zeros(1, dtype=torch.long))),
                "masks": masks.new_zeros(1, *masks.shape[1:]),
                "twin": masks.new_zeros(1),
            }
            out = self.segmentation[0]({"items": [ghost]}, totals)
            return {"loss": out["loss"] * 0}
        out = dict(self.segmentation[0]({"items": chosen}, totals))
        kinds = torch.cat([item["picked_kinds"] for item in chosen])
        overlap_S = self.segmentation[0].overlap_SK.nanmean(1)
        for kind in kinds[kinds >= 0].unique().tolist():
            out[f"iou_{KINDS[kind]}"] = mean_of(overlap_S[kinds == kind])
        return out

    def _tokens(self, items: list[dict[str, Tensor]]) -> list[Tensor]:
        if "spatial" in items[0]:
            train = any(p.requires_grad for p in self.model.vision.parameters())
            with torch.set_grad_enabled(train and torch.is_grad_enabled()):
                return self.model.vision.encode([item["spatial"] for item in items], [item.get("temporal") for item in items])
        return [self._code_tokens(item) for item in items]

    def _code_tokens(self, item: dict[str, Tensor]) -> Tensor:
        """Codes as :class:`Vision` would lay them out: pooled for a video, patch by patch for an image."""
        vision = self.model.config.vision
        if "spatial_owner" not in item:
            return self.turn.new_zeros(1, vision.adapter_width)
        spatial = self._patches(item["spatial_owner"].long(), item["spatial_code"])
        if bool(item["image"]):
            return spatial.flatten(0, 1)
        temporal = self._patches(item["temporal_owner"].long(), item["temporal_code"])
        looks = pool_grid(spatial, vision.spatial.grid, vision.spatial_pool).flatten(0, 1)
        return torch.cat([looks, pool_grid(temporal, vision.temporal.grid, vision.temporal_pool).flatten(0, 1)])

    def _patches(self, owner: Tensor, codes: Tensor) -> Tensor:
        frames = owner.shape[0]
        table = torch.cat([codes.new_zeros(1, *codes.shape[1:]), codes])
        raw = table[owner, torch.arange(frames, device=owner.device)[:, None]]
        if self.training:
            raw = raw * (torch.rand(owner.shape, device=owner.device) >= self.hide)[..., None]
        tokens = raw @ self.turn
        return tokens + self.noise * torch.randn_like(tokens) if self.training else tokens

    @torch.no_grad()
    def pictures(self, batch: dict[str, Any]) -> dict[str, NDArray[np.uint8]]:
        """Strips of frames with the masks of the model's own prompts (none before masks are trained)."""
        language, given = self.model.language, batch["items"]
        if "masks" not in given[0]:
            return {}
        inputs = language.fuse(language.embed(batch["ids"]), self._tokens(given), [int(item["start"]) for item in given])
        hidden, _ = language.branched(inputs, batch["seen"], batch["positions"])
        prompted = [
            {
                **item,
                "prompts": torch.cat([language.prompts_at(hidden[row, item["segs"][item["picked"]]]).float(), item["strangers"]]),
            }
            for row, item in enumerate(given)
            if len(item["picked"])
        ]
        return self.segmentation[0].strips(prompted) if prompted else {}

    @torch.no_grad()
    def validate(self, batch: dict[str, Any], totals: Tensor) -> dict[str, Tensor]:
        return self.forward(batch, totals)
