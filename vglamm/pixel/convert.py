"""Published names of the pixel part -> ours. ``None``: dropped on purpose; first match wins."""

from __future__ import annotations

Rules = list[tuple[str, str | None]]


def rules() -> Rules:
    """The released checkpoint's names."""
    sam = r"model\.visual_model\."
    return [
        # the released file calls the fuser's layer scale "weight"
        (sam + r"memory_encoder\.fuser\.layers\.(\d+)\.(?:weight|gamma)", r"pixel.sam.memory_encoder.fuser.layers.\1.gamma"),
        (sam + r"(.*)", r"pixel.sam.\1"),
    ]


def sam2_rules() -> Rules:
    """SAM 2's own names are ours; one that SAM 2 does not know is found when the tensors are held against the model."""
    return [(r"(.*)", r"pixel.sam.\1")]
