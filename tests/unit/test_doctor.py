"""The doctor tells what is there, tells what is wrong in a machine that is wrong, and says how to mend it."""

from __future__ import annotations

import importlib.metadata
import os
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from vglamm import doctor
from vglamm.config import ModelConfig
from vglamm.errors import ConfigError
from vglamm.presets import preset


def test_a_working_installation_has_nothing_that_blocks() -> None:
    findings = list(doctor.examine())
    assert [f.name for f in findings if f.state == "block"] == []
    assert {"python", "packages", "imports", "decoders", "shared memory", "cpu", "gpu", "network namespaces"} <= {
        f.name for f in findings
    }


def test_every_finding_that_is_not_good_says_what_to_do() -> None:
    for finding in doctor.examine("tiny"):
        assert (finding.fix == "") == (finding.state == "ok"), finding


def test_a_missing_and_a_too_old_package_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.metadata.version

    def version(name: str) -> str:
        if name == "peft":
            raise importlib.metadata.PackageNotFoundError(name)
        return "4.41.0" if name == "transformers" else real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    found = {f.name: f for f in doctor.packages()}
    assert found["packages"].state == "block"
    assert "peft is missing" in found["packages"].found
    assert "transformers 4.41.0 is not <6,>=5.20" in found["packages"].found


def test_an_extra_that_is_not_installed_only_warns(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.metadata.version

    def version(name: str) -> str:
        if name == "deepspeed":
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    found = {f.name: f for f in doctor.packages()}
    assert found["packages"].state == "ok"
    assert found["extra train"].state == "warn"
    assert "deepspeed is missing" in found["extra train"].found
    assert "vglamm[train]" in found["extra train"].fix


def test_a_package_that_is_not_installed_itself_blocks() -> None:
    (finding,) = doctor.packages("no-such-distribution")
    assert finding.state == "block"


def test_a_decoder_that_gives_other_frames_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    real = doctor._levels_by_av
    monkeypatch.setattr(doctor, "_levels_by_av", lambda path: np.roll(real(path), 1))
    finding = doctor.decoding()
    assert finding.state == "block"
    assert finding.found.startswith("av reads")


def test_a_decoder_that_cannot_read_the_clip_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_write_levels", lambda path, levels: path.write_bytes(b"no video"))
    assert doctor.decoding().state == "block"


@pytest.mark.parametrize(("gigabytes", "state"), [(0.0625, "warn"), (8, "ok")])
def test_small_shared_memory_warns(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, gigabytes: float, state: str) -> None:
    usage = namedtuple("usage", "total used free")
    size = int(gigabytes * doctor.GIB)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: usage(size, 0, size))
    assert doctor.shared_memory(tmp_path).state == state


def test_a_system_without_shared_memory_files_is_fine(tmp_path: Path) -> None:
    assert doctor.shared_memory(tmp_path / "nothing").state == "ok"


@pytest.mark.parametrize(("cores", "state"), [(2, "warn"), (4, "warn"), (5, "ok"), (64, "ok")])
def test_cores_are_held_against_the_actors(cores: int, state: str) -> None:
    assert doctor.cpus(cores).state == state


def test_usable_cores_are_within_those_of_the_machine() -> None:
    assert 1 <= doctor.usable_cpus() <= (os.cpu_count() or 1)


def test_parameters_are_those_of_the_built_parts() -> None:
    from vglamm.language.lm import Language
    from vglamm.pixel.decoder import Pixel
    from vglamm.vision.encoder import Vision

    config: ModelConfig = preset("tiny")
    parts = {"vision": Vision(config.vision), "language": Language(config.language), "pixel": Pixel(config.pixel)}
    assert doctor.parameters("tiny") == {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}


def test_counting_leaves_later_modules_alone() -> None:
    import torch

    doctor.parameters("tiny")
    assert torch.nn.Linear(2, 2).weight.device.type == "cpu"


@pytest.mark.parametrize(("room", "state"), [(4 * 10**6, "block"), (16 * 10**6, "warn"), (10**9, "ok")])
def test_memory_is_held_against_what_is_available(monkeypatch: pytest.MonkeyPatch, room: int, state: str) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(doctor, "available_memory", lambda: room)
    monkeypatch.setattr(doctor, "parameters", lambda model: {"vision": 10**6, "language": 2 * 10**6, "pixel": 10**6})
    *parts, whole = doctor.memory("tiny")
    assert [part.name for part in parts] == ["tiny vision", "tiny language", "tiny pixel"]
    assert whole.state == state
    assert "2.0 M parameters: 7.6 MiB in float32, 3.8 MiB in bfloat16" in parts[1].found


def test_available_memory_is_some_of_the_machine() -> None:
    assert 10**7 < doctor.available_memory() <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_an_unknown_preset_is_an_error_before_anything_is_looked_at() -> None:
    with pytest.raises(ConfigError, match="no-such"):
        next(doctor.examine("no-such"))


def test_forbidden_namespaces_warn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    refusing = tmp_path / "python"
    refusing.write_text("#!/bin/sh\nexit 1\n")
    refusing.chmod(0o755)
    monkeypatch.setattr(doctor.sys, "executable", str(refusing))
    finding = doctor.namespaces()
    assert finding.state == "warn"
    assert "within reach of the network" in finding.found
