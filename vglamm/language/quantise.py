"""An LM whose linear layers hold 8 or 4 bits (bitsandbytes, through transformers' own loading)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from vglamm.errors import EnvironmentProblem
from vglamm.language.config import LanguageConfig
from vglamm.language.lm import Language, lm_config


def quantised_lm(config: LanguageConfig, state: dict[str, Tensor], *, device: Any, dtype: torch.dtype) -> nn.Module:
    """The causal LM of ``config`` from the tensors in ``state`` (names of the LM itself), quantised on ``device``.

    The head stays whole, as transformers has it. EnvironmentProblem if bitsandbytes is not installed.
    """
    if find_spec("bitsandbytes") is None:
        raise EnvironmentProblem(
            f"quantise={config.quantise!r} without the package bitsandbytes", "bitsandbytes", "run `pip install 'vglamm[quant]'`"
        )
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    how = (
        BitsAndBytesConfig(load_in_8bit=True)
        if config.quantise == "8bit"
        else BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)
    )
    logging.getLogger("bitsandbytes.autograd._functions").addFilter(_not_of_the_cast)
    sizes = lm_config(config)
    kind = AutoModelForCausalLM._model_mapping[type(sizes)]
    with _without_bar():
        return kind.from_pretrained(  # type: ignore[no-any-return]
            None,
            config=sizes,
            state_dict=state,
            quantization_config=how,
            device_map={"": torch.device(device)},
            dtype=dtype,
            attn_implementation="sdpa",
        )


def _not_of_the_cast(record: logging.LogRecord) -> bool:
    """Each 8-bit layer says at each call, as a warning, that it computes in float16, which is how they work."""
    return "inputs will be cast" not in record.getMessage()


@contextmanager
def _without_bar() -> Iterator[None]:
    """Weights come from memory, and a terminal has a line of its own that says what goes on."""
    from transformers.utils import logging as told

    before = told.set_tqdm_hook(lambda factory, given, named: factory(*given, **{**named, "disable": True}))
    try:
        yield
    finally:
        told.set_tqdm_hook(before)


def fill_quantised(
    language: Language, get: Callable[[str], Tensor], names: Iterable[str], *, device: Any, dtype: torch.dtype
) -> None:
    """Give ``language``, whose parameters have no memory yet, its tensors ``get(name)``; the LM's linear layers quantised."""
    names = set(names)
    plain = {name: name.replace(".base_layer.", ".") for name in names if name.startswith("lm.") and ".lora_" not in name}
    state = {ours.removeprefix("lm."): get(name).to(dtype) for name, ours in plain.items()}
    language.lm = quantised_lm(replace(language.config, lora=None), state, device=device, dtype=dtype)
    if language.config.lora is not None:
        language._add_lora()
    rest = {name: get(name).to(device=device, dtype=dtype) for name in names - plain.keys()}
    language.load_state_dict(rest, strict=False, assign=True)  # the rest of the names were checked before and are in ``lm``
