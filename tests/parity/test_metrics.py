"""The published modes against the published scorers' own results."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.parity.golden_metrics import compare

GOLDEN = Path(__file__).parent.parent / "assets" / "golden"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for name in ("metrics_expected.json", "metrics_inputs.safetensors"):
        shutil.copy(GOLDEN / name, tmp_path / name)
    return tmp_path


def edit(folder: Path, change) -> None:
    file = folder / "metrics_expected.json"
    expected = json.loads(file.read_text())
    change(expected)
    file.write_text(json.dumps(expected))


def test_every_published_number_is_reproduced():
    records = compare(GOLDEN)
    assert [record for record in records if not record["ok"]] == []
    expected = json.loads((GOLDEN / "metrics_expected.json").read_text())
    assert len(records) == 3 * len(expected["gcg"]) + 2 * len(expected["jf"]) + 3 * len(expected["tiou"])


@pytest.mark.parametrize(
    ("change", "case", "word"),
    [
        (lambda e: e["gcg"][1].update(miou=0.5), "gcg1", "miou"),
        (lambda e: e["gcg"][3]["matches[gt,pred]"].pop(), "gcg3", "matches"),
        (lambda e: e["gcg"][2].update(clair=0.5), "gcg2", "clair"),
        (lambda e: e["jf"][0]["F"].__setitem__(2, 0.9), "jf0", "F"),
        (lambda e: e["jf"][3]["J"].pop(), "jf3", "J"),
        (lambda e: e["tiou"][4].update(union=22), "tiou4", "union"),
        (lambda e: e.update(other=[{}]), "other", "group"),
        (lambda e: e["gcg"].append(e["gcg"][0]), "gcg6", "KeyError"),
        (lambda e: e["jf"].pop(), "jf3", "not used"),
    ],
)
def test_what_differs_or_is_not_understood_is_a_failure(copy, change, case, word):
    edit(copy, change)
    bad = [record for record in compare(copy) if not record["ok"]]
    assert bad
    assert {record["case"] for record in bad} == {case}
    assert all(word in record["name"] for record in bad)


def test_a_missing_file_and_a_spare_tensor_are_failures(copy):
    inputs = load_file(copy / "metrics_inputs.safetensors")
    save_file({**inputs, "jf0.void": np.zeros(3, np.uint8)}, copy / "metrics_inputs.safetensors")
    assert [record["name"] for record in compare(copy) if not record["ok"]] == ["tensor jf0.void not used"]
    (copy / "metrics_inputs.safetensors").unlink()
    assert [record["ok"] for record in compare(copy)] == [False]


def test_nan_on_one_side_only_is_a_failure(copy):
    edit(copy, lambda e: e["gcg"][0].update(miou=float("nan")))
    assert [(record["case"], record["name"]) for record in compare(copy) if not record["ok"]] == [("gcg0", "miou")]
