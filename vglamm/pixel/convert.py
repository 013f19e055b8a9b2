"""Published names of the pixel part -> ours. ``None``: dropped on purpose."""

from __future__ import annotations


def rules() -> list[tuple[str, str | None]]:
    """Regular expressions over published names, first match wins."""
    sam = r"model\.visual_model\."
    return [
        # the released file calls the fuser's layer scale "weight"
        (sam + r"memory_encoder\.fuser\.layers\.(\d+)\.(?:weight|gamma)", r"pixel.sam.memory_encoder.fuser.layers.\1.gamma"),
        (sam + r"(.*)", r"pixel.sam.\1"),
    ]
