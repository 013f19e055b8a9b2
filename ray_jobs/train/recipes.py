"""What a training run is: a YAML file (or a named recipe of ``recipe_files``) and dotted overrides, as one frozen record.

Torch-free.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from vglamm.config import at_least, from_tree, text_of
from vglamm.errors import ConfigError
from vglamm.language.config import LoraSettings

PRECISIONS = ("fp32", "autocast", "auto", "bf16")
DECAYS = ("linear", "cosine", "none")


@dataclass(frozen=True)
class Data:
    """start: first sample id (a seed of the generated world). count: None draws new ids for ever; a number cycles through that many
    ids, shuffled anew in each round. difficulty: passed to the objective as a setting. producers: processes that prepare samples
    (0: in line; under Ray: CPU tasks of each worker at a time, at least one). prefetch: micro-batches prepared ahead, for each
    producer."""

    start: int = 0
    count: int | None = None
    difficulty: str | None = None
    producers: int = 1
    prefetch: int = 3


@dataclass(frozen=True)
class Group:
    """Parameters whose name matches ``pattern`` (as in ``train``) learn at ``lr``; the first group that matches counts."""

    pattern: str
    lr: float
    weight_decay: float | None = None


@dataclass(frozen=True)
class Optimiser:
    """AdamW. warmup: steps of linear rise from 0. decay: then to ``final`` x lr at the last step. clip: largest norm of the whole
    gradient, 0 for none. Tensors of one dimension (norms, biases) are never decayed. muon: above 0, the learning rate at which
    matrices between hidden states are trained by Muon (of torch; Jordan et al. 2024) instead, scaled to AdamW's size of a step;
    at ZeRO 0 only, ``groups`` do not reach them."""

    lr: float = 3e-4
    muon: float = 0.0
    groups: tuple[Group, ...] = ()
    betas: tuple[float, ...] = (0.9, 0.95)
    eps: float = 1e-8
    weight_decay: float = 0.0
    warmup: int = 100
    decay: str = "linear"
    final: float = 0.0
    clip: float = 1.0


@dataclass(frozen=True)
class Batch:
    """The global batch is ``per_worker`` x ``accumulation`` x workers samples."""

    per_worker: int = 2
    accumulation: int = 1


@dataclass(frozen=True)
class Checkpoints:
    """every: steps. minutes: also after that long. keep: how many to keep. 0 turns ``every`` or ``minutes`` off; the end of a run
    is always kept."""

    every: int = 500
    minutes: float = 5.0
    keep: int = 2


@dataclass(frozen=True)
class Validation:
    """every: steps, 0 for never. start, count: held-out sample ids. pictures: overlay pictures to log each time."""

    every: int = 0
    start: int = 900_000_000
    count: int = 32
    pictures: int = 4


@dataclass(frozen=True)
class Log:
    """every: steps between reports; slow steps are reported after 30 s. tracking: "local" (SQLite in the storage folder), "off", or
    the URI of an MLflow server. It is kept in ``recipe.yaml``, so it is not taken from the environment, where it may hold a
    password."""

    every: int = 20
    tracking: str = "local"
    experiment: str = "vglamm"


_NAME = re.compile(r"[\w-][\w .-]*")


@dataclass(frozen=True)
class Recipe:
    """A training run; equal names are the same run, which is taken up where it stopped.

    objective: a name of ``vglamm.objectives`` or ``module:Class``; settings: its keyword arguments. preset: a preset, or a
    checkpoint whose config is taken. lora: low-rank adapters to add. tokenizer: "world" or a checkpoint. init: where weights start,
    by part ("vision", "language", "pixel", "heads", or "all" for the three parts): a checkpoint or the name of another run, or a
    list of them, whose mean is taken (where one was trained on from the other it is often better than both, arXiv 2203.05482); a
    part that is not named starts from random weights of ``seed``. train: patterns of :mod:`vglamm.freeze`. precision: "fp32";
    "autocast" (float32 weights, bfloat16 where it is safe); "auto" (autocast where the hardware multiplies in bfloat16, else fp32);
    "bf16" (ZeRO 1 to 3: bfloat16 weights, float32 masters). zero: 0 to 3.
    cpus: that Ray reserves for each worker. threads: of torch in each worker. max_failures: restarts of the run after a worker
    died, -1 for no limit. storage: the folder of all runs (on Ray one that all nodes share).
    """

    name: str
    objective: str
    steps: int
    train: tuple[str, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    preset: str = "tiny"
    lora: LoraSettings | None = None
    tokenizer: str = "world"
    init: dict[str, Any] = field(default_factory=dict)
    data: Data = Data()
    batch: Batch = Batch()
    optimiser: Optimiser = Optimiser()
    checkpoints: Checkpoints = Checkpoints()
    validation: Validation = Validation()
    log: Log = Log()
    precision: str = "fp32"
    zero: int = 0
    workers: int = 1
    gpu: bool = False
    cpus: float = 1.0
    threads: int = 1
    seed: int = 0
    max_failures: int = 3
    storage: str = "runs"

    def __post_init__(self) -> None:
        _among("precision", self.precision, PRECISIONS)
        _among("optimiser.decay", self.optimiser.decay, DECAYS)
        _among("zero", self.zero, (0, 1, 2, 3))
        if self.precision == "bf16" and self.zero == 0:
            raise ConfigError("precision=bf16 with zero=0", "zero=1 or more (on one worker it shards nothing)", "add zero=1")
        if self.optimiser.muon and self.zero:
            got = f"optimiser.muon={self.optimiser.muon:g} with zero={self.zero}, which cuts the matrices that Muon needs whole"
            raise ConfigError(got, "one of them at 0", "add zero=0 or optimiser.muon=0")
        for name, source in self.init.items():
            _among("a part in init", name, ("all", "vision", "language", "pixel", "heads"))
            if not source:
                raise ConfigError(f"init.{name}={source}", "a checkpoint or a run, or a list of them", "fix the recipe")
        if "://" in self.storage:
            raise ConfigError(f"storage={self.storage}", "a path that all nodes share", "mount the bucket or a shared volume")
        if not _NAME.fullmatch(self.name):
            raise ConfigError(
                f"name={self.name!r}", "letters, digits, spaces, . _ and -, not beginning with a .", "choose another name"
            )
        least = {
            "steps": self.steps,
            "workers": self.workers,
            "threads": self.threads,
            "batch.per_worker": self.batch.per_worker,
            "batch.accumulation": self.batch.accumulation,
            "log.every": self.log.every,
            "checkpoints.keep": self.checkpoints.keep,
            "data.prefetch": self.data.prefetch,
        }
        if self.data.count is not None:
            least["data.count"] = self.data.count
        at_least(1, least, "fix the recipe")
        at_least(0, self._from_zero(), "fix the recipe")
        if self.optimiser.final > 1:
            raise ConfigError(f"optimiser.final={self.optimiser.final:g}", "a share of the rate, 0 to 1", "fix the recipe")
        if self.seed >= 2**63:
            raise ConfigError(f"seed={self.seed}", "below 2^63", "choose a smaller one")
        if len(self.optimiser.betas) != 2 or not all(0 <= beta < 1 for beta in self.optimiser.betas):
            raise ConfigError(f"optimiser.betas={self.optimiser.betas}", "two numbers from 0 to below 1", "fix the recipe")
        if self.objective == "finetuning":
            self._apart()
        if self.validation.every and (self.validation.count < 1 or self.validation.count % self.workers):
            raise ConfigError(
                f"validation.count={self.validation.count} for {self.workers} workers",
                "a multiple of the workers, at least one for each",
                "fix validation.count",
            )

    def _apart(self) -> None:
        """Of real sets an id says by itself whether it draws from the videos that are held out."""
        from vglamm.data.corpora.mixture import HELD_OUT

        if self.validation.every and self.validation.start < HELD_OUT:
            raise ConfigError(f"validation.start={self.validation.start}", f"{HELD_OUT} or more, which is held out", "leave it out")
        if self.data.start >= HELD_OUT:
            raise ConfigError(f"data.start={self.data.start}", f"below {HELD_OUT}, from where videos are held out", "leave it out")

    def _from_zero(self) -> dict[str, float]:
        """Settings that are 0 or more, by name. What is below would be found by a library, after the run has begun."""
        parts: dict[str, tuple[str, ...]] = {
            "data": ("start", "producers"),
            "optimiser": ("lr", "muon", "eps", "weight_decay", "warmup", "final", "clip"),
            "checkpoints": ("every", "minutes"),
            "validation": ("every", "start", "pictures"),
        }
        found = {f"{part}.{name}": getattr(getattr(self, part), name) for part, names in parts.items() for name in names}
        groups = [(f"optimiser.groups[{n}]", group) for n, group in enumerate(self.optimiser.groups)]
        found |= {f"{at}.lr": group.lr for at, group in groups}
        found |= {f"{at}.weight_decay": group.weight_decay for at, group in groups if group.weight_decay is not None}
        return {"seed": self.seed, "cpus": self.cpus, **found}

    @property
    def global_batch(self) -> int:
        """Samples of one step, over all workers."""
        return self.batch.per_worker * self.batch.accumulation * self.workers

    @property
    def folder(self) -> Path:
        """The run's folder (for a storage that is a path)."""
        return Path(self.storage) / self.name

    def to_tree(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def load(source: str, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe at a path, or the named one, with overrides such as ``optimiser.lr=1e-4``. Unknown keys are a ConfigError."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    text = _text(source)
    if bad := [item for item in overrides if "=" not in item.strip("=")]:
        raise ConfigError(f"overrides {bad}", "key=value", "write for example optimiser.lr=1e-4")
    try:
        tree = OmegaConf.to_container(
            OmegaConf.merge(OmegaConf.create(text), OmegaConf.from_dotlist(list(overrides))), resolve=True
        )
    except (OmegaConfBaseException, YAMLError) as error:
        raise ConfigError(f"a recipe that cannot be read ({error})", "YAML", f"fix {source} or the overrides") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{source} without keys", "a mapping", "write a recipe")
    log = tree.get("log")
    if isinstance(log, dict) and log.get("tracking") is False:
        log["tracking"] = "off"  # YAML takes the bare word for a truth value
    return from_tree(Recipe, {str(key): value for key, value in tree.items()})


def names() -> list[str]:
    """The named recipes."""
    return sorted(file.name.removesuffix(".yaml") for file in _shipped().iterdir() if file.name.endswith(".yaml"))


def _shipped() -> Any:
    return resources.files("ray_jobs.train") / "recipe_files"


def _text(source: str) -> str:
    path = Path(source)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise ConfigError(f"no recipe at {source}", "a YAML file", "check the path")
        return text_of(path)
    if source not in names():
        raise ConfigError(f"recipe {source!r}", f"a path to a YAML file or one of {', '.join(names())}", "choose one of them")
    return str((_shipped() / f"{source}.yaml").read_text(encoding="utf-8"))


def _among(name: str, value: Any, options: tuple[Any, ...]) -> None:
    if value not in options:
        raise ConfigError(f"{name}={value!r}", f"one of {options}", "fix the recipe")
