"""Folding low-rank adapters into the layers they sit on (arXiv 2106.09685): W + (alpha / r) B A."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from vglamm.language.lm import Language


def merged(
    language: Language, tensors: Mapping[str, Tensor], parameters: set[str], *, prefix: str = ""
) -> tuple[dict[str, Tensor], set[str]]:
    """``tensors`` and the names among them that are parameters, as they would be of the same model without adapters.

    Nothing of the model changes. Sums are made in float32 and returned in the layer's own dtype.
    """
    from peft.tuners.lora import LoraLayer

    out = dict(tensors)
    for path, layer in language.named_modules():
        if not isinstance(layer, LoraLayer):
            continue
        here = f"{prefix}{path}."
        weight = out[f"{here}base_layer.weight"]
        for adapter in layer.active_adapters:
            a, b = (out[f"{here}lora_{side}.{adapter}.weight"].float() for side in "AB")
            delta = (b @ a) * layer.scaling[adapter]
            weight = (weight.float() + (delta.T if layer.fan_in_fan_out else delta).to(weight.device)).to(weight.dtype)
        out[f"{here}base_layer.weight"] = weight
        out = {name: tensor for name, tensor in out.items() if not name.startswith(f"{here}lora_")}
    plain = {name.replace(".base_layer.", "."): tensor for name, tensor in out.items()}
    return plain, {name.replace(".base_layer.", ".") for name in parameters if name in out}
