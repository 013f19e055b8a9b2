"""What an evaluation is asked to do, held together before anything is read."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from ray_jobs.evaluate.handing_in import SERVERS, zips
from ray_jobs.evaluate.plan import Cases
from vglamm.errors import ConfigError
from vglamm.metrics.captions import OFFLINE_ENCODER
from vglamm.metrics.clair import Clair
from vglamm.metrics.conversation import score_conversation
from vglamm.metrics.conversation_report import Judges
from vglamm.metrics.tasks import find_task

_REMOTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # a Path has one slash left of an address's two


@dataclass(frozen=True)
class Texts:
    """Who judges texts. similarity: encoder of phrases, None for the one that needs no network. url, model: of the CLAIR judge,
    both or none. key_env: the environment variable that holds its key. java: may Java programs run."""

    similarity: str | None = None
    url: str | None = None
    model: str | None = None
    key_env: str | None = None
    java: bool = True

    def judges(self) -> Judges:
        """ConfigError for half a judge, or a key that is not set."""
        if (self.url is None) != (self.model is None) or (self.key_env and self.url is None):
            given = [f"--clair-{n}" for n, v in (("url", self.url), ("model", self.model), ("key-env", self.key_env)) if v]
            raise ConfigError(f"{' and '.join(given)} alone", "--clair-url and --clair-model, or none", "name the judge whole")
        key = os.environ.get(self.key_env) if self.key_env else None
        if self.key_env and not key:
            raise ConfigError(f"no environment variable {self.key_env}", "the key of the judge in it", "set it, or name another")
        clair = Clair(self.url, self.model, key) if self.url and self.model else None
        return Judges(self.similarity or OFFLINE_ENCODER, self.java, clair)

    @property
    def asked(self) -> bool:
        return self != Texts(java=self.java)


@dataclass(frozen=True)
class Asked:
    """An evaluation. out: a local folder. mode: of masks. seed: of the intervals. submission: where the zip goes, of a split that a
    server scores (default: in ``out``). max_failed: share of cases that may fail. retry: failed cases once more."""

    cases: Cases
    model: str
    out: Path
    profile: str = "laptop"
    mode: str = "video"
    max_new_tokens: int | None = None
    texts: Texts = field(default_factory=Texts)
    seed: int = 0
    submission: Path | None = None
    max_failed: float = 0.0
    retry: bool = False

    @property
    def server(self) -> str | None:
        """The format of submissions, if this split's truth is on a server."""
        return SERVERS.get((self.cases.task, self.cases.split))

    @property
    def zip(self) -> Path:
        return self.submission or self.out / "submission.zip"

    def check(self) -> Judges:
        """ConfigError for options that mean nothing to this task; gives the judges of its texts."""
        name = self.cases.task
        if _REMOTE.match(os.fspath(self.out)):
            raise ConfigError(f"--out {self.out}", "a local folder", "keep the results here; the data may be elsewhere")
        if self.server is not None:
            zips(self.zip)
        elif self.submission is not None:
            raise ConfigError(
                f"--submission for {name} {self.cases.split}, which is scored here",
                f"it with {', '.join(' '.join(pair) for pair in SERVERS)}",
                "leave it out",
            )
        if self.texts.asked and (self.server is not None or find_task(name).score is not score_conversation):
            raise ConfigError(f"--similarity or --clair-... with {name}", "them with a task of captions (gcg)", "leave them out")
        return self.texts.judges()
