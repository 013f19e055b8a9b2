"""What is trained: named patterns over parameter names. Frozen parts stay in eval mode, so that their features are not random."""

from __future__ import annotations

import re
from collections.abc import Sequence

from torch import nn

from vglamm.errors import ConfigError

PATTERNS = {
    "all": r".*",
    "vision": r"vision\..*",
    "towers": r"vision\.(spatial|temporal)\..*",
    "adapters": r"vision\.(spatial|temporal)_adapter\..*",
    "language": r"language\..*",
    "lm": r"language\.lm\..*",
    "lora": r"language\.lm\..*\.lora_[AB]\..*",
    "embeddings": r"language\.lm\..*embed_tokens\..*",
    "head": r"language\.lm\.lm_head\..*",
    "projector": r"language\.projector\..*",
    "pixel": r"pixel\..*",
    "mask_decoder": r"pixel\.sam\.sam_mask_decoder\..*",
    "memory": r"pixel\.sam\.(memory_attention|memory_encoder|obj_ptr|mask_downsample|maskmem|no_mem|no_obj).*",
    "heads": r"heads\..*",
}
"""Names for regular expressions over the whole name of a parameter (``vision...``, ``language...``, ``pixel...``, and ``heads...``
for what an objective adds). ``lora, embeddings, head, projector, mask_decoder, adapters`` together are the published choice
(arXiv 2411.04923, section 4)."""


def own_name(name: str) -> str:
    """The name without the wrapper's prefix: an objective holds the model as ``model``."""
    return name.removeprefix("model.")


def train_only(module: nn.Module, patterns: Sequence[str]) -> list[str]:
    """Train the parameters that a pattern matches and freeze the others; returns the names that are trained, sorted.

    patterns: names of ``PATTERNS`` or regular expressions; one that starts with ``-`` takes its parameters out again, and the last
    pattern that matches decides. A pattern that matches no parameter is a ConfigError.
    """
    chosen: dict[str, bool] = {}
    names = {own_name(name): parameter for name, parameter in module.named_parameters()}
    for pattern in patterns:
        keep = not pattern.startswith("-")
        expression = pattern_of(pattern.removeprefix("-"))
        hits = [name for name in names if expression.fullmatch(name)]
        if not hits:
            raise ConfigError(
                f"train pattern {pattern!r}, which matches no parameter",
                f"one of {', '.join(PATTERNS)} or a regular expression over names such as {next(iter(names), 'none')}",
                "correct it or take it out",
            )
        chosen |= dict.fromkeys(hits, keep)
    for name, parameter in names.items():
        parameter.requires_grad_(chosen.get(name, False))
    trained = sorted(name for name, keep in chosen.items() if keep)
    if not trained:
        raise ConfigError("a recipe that trains nothing", "at least one trained tensor", "name patterns in `train`")
    set_modes(module)
    return trained


def set_modes(module: nn.Module) -> None:
    """Train mode for modules that hold a trained parameter, eval mode for the others.

    A module without parameters (a dropout, an activation) follows the module it is in.
    """
    _visit(module, any(parameter.requires_grad for parameter in module.parameters()))


def _visit(module: nn.Module, inherited: bool) -> None:
    parameters = list(module.parameters())
    module.training = any(parameter.requires_grad for parameter in parameters) if parameters else inherited
    for child in module.children():
        _visit(child, module.training)


def pattern_of(pattern: str) -> re.Pattern[str]:
    """The regular expression of a name of ``PATTERNS``, or of itself."""
    try:
        return re.compile(PATTERNS.get(pattern, pattern))
    except re.error as error:
        raise ConfigError(f"train pattern {pattern!r} ({error})", "a regular expression", "correct it") from error
