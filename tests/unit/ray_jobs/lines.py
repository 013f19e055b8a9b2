"""A small honest objective: projector and head learn a function of generated numbers. It uses all that the loop offers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tests.unit.ray_jobs.draw import Draw
from vglamm.errors import ConfigError
from vglamm.model import VideoGLaMM


class Lines(nn.Module):
    """Projector and one head on generated numbers, a weighted mean squared error over the global batch."""

    def __init__(
        self, model: VideoGLaMM, tokenizer: Any, *, scale: float = 1.0, noise: float = 0.0, difficulty: str = "easy"
    ) -> None:
        super().__init__()
        self.model, self.scale, self.noise = model, scale, noise
        language = model.config.language
        self.width = language.width
        self.heads = nn.ModuleDict({"read": nn.Linear(language.prompt_width, 1)})

    def preparer(self) -> Draw:
        return Draw(self.width, self.scale)

    def collate(self, items: list[dict[str, Any]]) -> dict[str, Tensor]:
        batch = {name: torch.from_numpy(np.stack([item[name] for item in items])).float() for name in ("x", "y", "weight")}
        return batch | {"id": torch.tensor([item["id"] for item in items])}

    def count(self, batch: dict[str, Tensor]) -> Tensor:
        return batch["weight"].sum()[None]

    def forward(self, batch: dict[str, Tensor], totals: Tensor) -> dict[str, Tensor]:
        x = batch["x"] + self.noise * torch.randn_like(batch["x"])
        said = self.heads["read"](self.model.language.projector(x)).squeeze(-1)
        loss = (batch["weight"] * (said - batch["y"]) ** 2).sum() / totals[0]
        right = (said > 0) == (batch["y"] > 0)
        return {
            "loss": loss,
            "mse": loss.detach(),
            "sign": torch.stack([right.sum(), right.new_tensor(len(right), dtype=torch.long)]),
        }

    def validate(self, batch: dict[str, Tensor], totals: Tensor) -> dict[str, Tensor]:
        assert not self.training
        rare = batch["weight"] > 2  # a kind of item that a batch may lack
        return {**self.forward(batch, totals), "rare": torch.stack([batch["y"][rare].sum(), rare.sum()])}

    def pictures(self, batch: dict[str, Tensor]) -> dict[str, np.ndarray]:
        self.forward(batch, self.count(batch))  # as objectives do that draw what their model makes
        shown = zip(batch["id"].cpu().tolist(), batch["weight"].cpu().tolist(), strict=True)
        return {str(number): np.full((8, 8, 3), weight * 50, np.uint8) for number, weight in shown}


class Fragile(Lines):
    """``Lines`` whose worker is killed once, when it meets the sample ``fatal``; ``marker`` is the file that remembers it."""

    def __init__(self, model: VideoGLaMM, tokenizer: Any, *, fatal: int, marker: str, **settings: Any) -> None:
        super().__init__(model, tokenizer, **settings)
        self.fatal, self.marker = fatal, Path(marker)

    def collate(self, items: list[dict[str, Any]]) -> dict[str, Tensor]:
        if any(item["id"] == self.fatal for item in items) and not self.marker.exists():
            self.marker.touch()
            os._exit(1)
        return super().collate(items)


class Mistaken(Lines):
    """``Lines`` that are told of a mistake in their recipe only where they are built; ``marker`` gets a line for each time."""

    def __init__(self, model: VideoGLaMM, tokenizer: Any, *, marker: str, **settings: Any) -> None:
        super().__init__(model, tokenizer, **settings)
        with Path(marker).open("a", encoding="utf-8") as file:
            file.write("built\n")
        raise ConfigError("settings.scale=0", "more than 0", "change it")
