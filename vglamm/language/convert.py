"""Published names of the language part -> ours. ``None``: dropped on purpose."""

from __future__ import annotations


def rules() -> list[tuple[str, str | None]]:
    """Regular expressions over published names, first match wins."""
    return [
        (r"model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq", None),  # computed from the config
        (r"model\.(layers\..*|embed_tokens\..*|norm\..*)", r"language.lm.model.\1"),
        (r"lm_head\.(.*)", r"language.lm.lm_head.\1"),
        (r"model\.text_hidden_fcs\.0\.0\.(.*)", r"language.projector.fc1.\1"),
        (r"model\.text_hidden_fcs\.0\.2\.(.*)", r"language.projector.fc2.\1"),
    ]
