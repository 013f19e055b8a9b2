"""Shipping: half precision in the file, the same model when it is loaded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import vglamm
from ray_jobs.train import store
from ray_jobs.train.ship import ship
from tests import fakes
from vglamm import checkpoint
from vglamm.errors import CheckpointError, ConfigError
from vglamm.model import VideoGLaMM


def test_a_run_becomes_a_small_checkpoint_that_computes_in_float32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = fakes.model()
    made = checkpoint.save(model, tmp_path / "run" / "step-0000010", tokenizer=fakes.tokenizer())
    monkeypatch.setattr(store, "latest", lambda run: made)
    shipped = ship(tmp_path / "toy", "# Toy", tmp_path / "run")
    assert (shipped / "README.md").read_text() == "# Toy"
    assert checkpoint.load_config(shipped).name == "toy"
    assert checkpoint.stored_dtype(shipped) == torch.float16
    sizes = [sum(file.stat().st_size for file in folder.glob("*.safetensors")) for folder in (made, shipped)]
    assert sizes[1] < 0.6 * sizes[0]
    walk = vglamm.load(str(shipped))
    assert {p.dtype for p in walk.vision.part.parameters()} == {torch.float32}
    assert walk.language.dtype == torch.float32


@pytest.mark.parametrize("tied", [False, True])
def test_of_several_runs_the_mean_is_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tied: bool) -> None:
    monkeypatch.setattr(store, "latest", lambda run: run)
    config = fakes.config()
    lm = config.language.lm | {"tie_word_embeddings": tied}
    model, runs = (
        VideoGLaMM(replace(config, language=replace(config.language, lm=lm))),
        [tmp_path / str(number) for number in range(3)],
    )
    for number, run in enumerate(runs):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(number / 16)
        checkpoint.save(model, run, tokenizer=fakes.tokenizer())
    ship(tmp_path / "mean", "# Mean", *runs)
    each = [dict(checkpoint.load(run).named_parameters()) for run in runs]
    for name, found in checkpoint.load(tmp_path / "mean").named_parameters():
        wanted = torch.stack([parameters[name] for parameters in each]).mean(0)
        torch.testing.assert_close(found.detach().float(), wanted, atol=2e-3, rtol=2e-3, msg=name)


def test_a_run_without_a_checkpoint_cannot_be_shipped(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="make -j2 tiny"):
        ship(tmp_path / "toy", "# Toy", tmp_path)


def test_a_run_belongs_to_one_process_at_a_time(tmp_path: Path) -> None:
    with (
        store.claimed(tmp_path / "run"),
        pytest.raises(ConfigError, match="one process at a time"),
        store.claimed(tmp_path / "run"),
    ):
        pass
    with store.claimed(tmp_path / "run"):  # free again
        pass
