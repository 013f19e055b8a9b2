"""The three pixel streams of the model, resized once on the CPU and kept 8-bit: uint8[T, H, W, 3] in, uint8[T, 3, h, w] out.

Each follows the library that the published model was trained with: CLIP's image processor (Pillow's bicubic), OpenCV's default
resize (bilinear, no antialias) and torchvision's resize of a Pillow image (Pillow's antialiased bilinear). Mean and std are
not applied here: the part that needs them owns them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional

from vglamm.errors import VideoError

# Frames turned into float at once by `temporal`: 8 of 1080p are 200 MB.
_CHUNK = 8


def spatial(frames: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """For the CLIP tower: the shortest side to ``size`` (bicubic), then the centre ``size`` x ``size``.

    frames: uint8[T, H, W, 3]. Returns uint8[T, 3, size, size]. The longer side becomes ``int(size * long / short)`` and the crop
    starts at ``(side - size) // 2``, as in transformers' CLIPImageProcessor.
    """
    height, width = _size(frames)
    short, long = min(height, width), max(height, width)
    longer = int(size * long / short)
    h, w = (size, longer) if height <= width else (longer, size)
    top, left = (h - size) // 2, (w - size) // 2
    return _channels_first(_pillow(frames, h, w, Image.Resampling.BICUBIC, (left, top, left + size, top + size)))


def temporal(frames: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """For the video tower: stretched to ``size`` x ``size``, bilinear without antialias (OpenCV's INTER_LINEAR), rounded.

    frames: uint8[T, H, W, 3]. Returns uint8[T, 3, size, size].
    """
    _size(frames)
    out = np.empty((len(frames), 3, size, size), dtype=np.uint8)
    for first in range(0, len(frames), _CHUNK):
        part = torch.from_numpy(np.array(frames[first : first + _CHUNK])).permute(0, 3, 1, 2).float()
        small = functional.interpolate(part, size=(size, size), mode="bilinear", align_corners=False, antialias=False)
        out[first : first + _CHUNK] = small.add_(0.5).clamp_(0, 255).to(torch.uint8).numpy()
    return out


def grounding(frames: NDArray[np.uint8], longest: int) -> NDArray[np.uint8]:
    """For the pixel part: the longest side to ``longest``, the aspect ratio kept, antialiased bilinear.

    frames: uint8[T, H, W, 3]. Returns uint8[T, 3, h, w] with (h, w) = :func:`grounding_size`. The stretch to the square that
    SAM 2 wants happens in floats, inside the pixel part.
    """
    height, width = _size(frames)
    h, w = grounding_size(height, width, longest)
    return _channels_first(_pillow(frames, h, w, Image.Resampling.BILINEAR, (0, 0, w, h)))


def grounding_size(height: int, width: int, longest: int) -> tuple[int, int]:
    """(h, w) of the grounding frames: each side times ``longest / max(height, width)``, rounded half up, at least 1.

    The rule of SAM's ResizeLongestSide (segment_anything/utils/transforms.py).
    """
    scale = longest / max(height, width)
    return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))


def _pillow(
    frames: NDArray[np.uint8], height: int, width: int, how: Image.Resampling, box: tuple[int, int, int, int]
) -> NDArray[np.uint8]:
    """uint8[T, H, W, 3] resized to height x width, of which ``box`` (left, top, right, bottom) is kept: uint8[T, h, w, 3].

    Frame by frame, since Pillow computes on 8 bit and has no batches; so the whole of a wide picture is there once, not T times.
    """
    left, top, right, bottom = box
    out = np.empty((len(frames), bottom - top, right - left, 3), dtype=np.uint8)
    for frame, slot in zip(frames, out, strict=True):
        slot[:] = np.asarray(Image.fromarray(np.ascontiguousarray(frame)).resize((width, height), how).crop(box))
    return out


def _channels_first(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(frames.transpose(0, 3, 1, 2))


def _size(frames: NDArray[Any]) -> tuple[int, int]:
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or 0 in frames.shape[1:]:
        raise VideoError(
            f"frames as {frames.dtype}{list(frames.shape)}", "uint8[T, H, W, 3]", "pass frames as vglamm.media.read gives them"
        )
    return int(frames.shape[1]), int(frames.shape[2])
