import shutil
import sys

import pytest

from vglamm.errors import EnvironmentProblem
from vglamm.metrics.caption_scores import cider, meteor_published, meteor_stems


def test_meteor_of_words_and_stems():
    # dogs = dogs, run ~ running: P 1, R 2/7, F .3077; one chunk of two matches: penalty .5 * .5^3
    score = meteor_stems(["two dogs running in the park fast", "a red car"], ["dogs run", "a blue bike"])
    assert score.each[0] == pytest.approx(0.307692 * (1 - 0.0625), abs=1e-6)
    # "a": P 1/3, R 1/3, F 1/3; one chunk of one match: penalty .5
    assert score.each[1] == pytest.approx(1 / 6)
    assert score.whole == pytest.approx(sum(score.each) / 2)
    assert meteor_stems(["a car", ""], ["", ""]).each == (0, 0)


def test_meteor_of_stems_knows_no_synonyms():
    assert meteor_stems(["a big dog"], ["a large dog"]).whole < meteor_stems(["a big dog"], ["a big dog"]).whole


def test_cider_by_hand():
    references = ["a b c d", "e f g h"]
    assert cider(references, references).each == pytest.approx((10, 10))
    assert cider(references, ["e f g h", "a b c d"]).whole == 0
    # "a b": cosines 2/(sqrt 2 * 2) and 1/sqrt 3 of words and pairs; it is two pairs shorter: exp(-4/72)
    score = cider(references, ["a b", ""])
    assert score.each == pytest.approx((10 * (0.7071068 + 0.5773503) / 4 * 0.9459595, 0))
    assert score.whole == pytest.approx(score.each[0] / 2)


def test_a_set_of_one_or_of_nothing_has_no_cider():
    assert cider(["a b"], ["a b"]).each == (0,)
    assert cider(["", ""], ["a", "b"]).each == (0, 0)
    assert cider([], []).whole == 0


@pytest.mark.parametrize(("module", "score"), [("nltk.translate.meteor_score", meteor_stems), ("pycocoevalcap.cider.cider", cider)])
def test_without_its_library_the_error_names_the_extra(monkeypatch, module, score):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(EnvironmentProblem, match=r"vglamm\[eval\]"):
        score(["a"], ["a"])


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("java") is None, reason="needs java")
def test_meteor_as_published():
    """The figures of pycocoevalcap's own Meteor on these texts."""
    references = [
        "a man -lrb- in red -rrb- rides a bike down the street the dog 's tail is wagging it is n't happy",
        "two dogs running in the park fast",
    ]
    score = meteor_published(references, ["a man is riding a bicycle on a street a dog follows", "dogs run"])
    assert score.whole == pytest.approx(0.1696079436624698)
    assert score.each == pytest.approx((0.17044782065111497, 0.16797174928257602))


def test_no_java_is_a_typed_problem(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EnvironmentProblem, match="no java"):
        meteor_published(["a"], ["a"])
