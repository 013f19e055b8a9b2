"""Options that mean nothing together are told before anything is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ray_jobs.evaluate.asked import Asked, Texts
from ray_jobs.evaluate.plan import Cases
from vglamm.errors import ConfigError
from vglamm.metrics.captions import OFFLINE_ENCODER

JUDGE = {"url": "http://localhost:1/v1", "model": "a-model"}


@pytest.mark.parametrize(
    ("task", "split", "more", "told"),
    [
        ("mevis", "valid_u", {"submission": Path("a.zip")}, "scored here"),
        ("mevis", "valid", {"submission": Path("a.tar")}, r"ending in \.zip"),
        ("mevis", "valid_u", {"texts": Texts("exact")}, "task of captions"),
        ("mevis", "valid", {"texts": Texts(**JUDGE)}, "task of captions"),
        ("gcg", "val", {"texts": Texts(url=JUDGE["url"])}, "--clair-url alone"),
        ("gcg", "val", {"texts": Texts(key_env="A_KEY")}, "--clair-key-env alone"),
        ("gcg", "val", {"texts": Texts(**JUDGE, key_env="VGLAMM_NO_SUCH_KEY")}, "no environment variable VGLAMM_NO_SUCH_KEY"),
        ("gcg", "val", {"texts": Texts(url="ftp://x", model="m")}, "http or https"),
        ("gcg", "val", {"out": Path("s3://bucket/out")}, "local folder"),
    ],
)
def test_what_does_not_fit(task: str, split: str, more: dict[str, Any], told: str) -> None:
    asked = Asked(**{"cases": Cases(task, Path("x"), split), "model": "m", "out": Path("out"), **more})
    with pytest.raises(ConfigError, match=told):
        asked.check()


def test_a_key_is_read_from_the_variable_that_is_named_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", "hidden")
    judges = Texts(**JUDGE, key_env="A_KEY").judges()
    assert judges.clair is not None
    assert judges.clair.key == "hidden"
    assert "hidden" not in repr(judges)
    assert (Texts().judges().similarity, Texts().judges().clair) == (OFFLINE_ENCODER, None)


def test_a_submission_lies_beside_the_answers_unless_it_is_told_where() -> None:
    asked = Asked(Cases("mevis", Path("x"), "valid"), "m", Path("out"))
    assert (asked.server, asked.zip) == ("mevis", Path("out/submission.zip"))
    assert Asked(Cases("mevis", Path("x"), "valid_u"), "m", Path("out")).server is None
