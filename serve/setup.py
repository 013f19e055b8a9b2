"""What every deployment is told when it starts. Plain and small, so that it crosses to any node; weights are loaded there."""

from __future__ import annotations

from dataclasses import dataclass

from serve.profile import Profile
from vglamm.errors import ModelUnknown
from vglamm.media.limits import Limits


@dataclass(frozen=True)
class Setup:
    """models: (name, checkpoint), the default one first; a checkpoint is a path, a hub id, a URL, or ``models:/NAME@ALIAS`` of an
    MLflow registry. spool: folder or address of the videos. limits: of a video. registry: address of MLflow, None for its own
    default."""

    models: tuple[tuple[str, str], ...]
    profile: Profile
    spool: str
    limits: Limits
    registry: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.models)

    def name(self, model: str) -> str:
        """The name to multiplex by: "" for the default model. ModelUnknown for one that is not served."""
        if model and model not in self.names:
            raise ModelUnknown(f"model {model!r}", f"one of {', '.join(self.names)}", "choose one of them")
        return "" if model == self.names[0] else model

    def source(self, model: str) -> str:
        """The checkpoint of a model, "" for the default one."""
        return dict(self.models)[model] if model else self.models[0][1]
