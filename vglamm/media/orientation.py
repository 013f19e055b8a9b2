"""Turning decoded pictures the way they are meant to be seen: rotation, mirroring and pixel aspect."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vglamm.errors import VideoUnreadable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Orientation:
    """First swap rows and columns, then mirror left to right, then top to bottom: the eight ways a picture can lie."""

    transpose: bool = False
    mirror: bool = False
    flip: bool = False

    @property
    def rotation(self) -> int | None:
        """Degrees clockwise (0, 90, 180, 270) if this is a rotation, None if it also mirrors."""
        turns = {(False, False, False): 0, (True, True, False): 90, (False, True, True): 180, (True, False, True): 270}
        return turns.get((self.transpose, self.mirror, self.flip))

    def apply(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """uint8[H, W, 3] -> uint8[H', W', 3], a view."""
        if self.transpose:
            frame = frame.swapaxes(0, 1)
        if self.mirror:
            frame = frame[:, ::-1]
        return frame[::-1] if self.flip else frame


def from_display_matrix(matrix: bytes) -> Orientation:
    """The orientation that a display matrix of nine int32 asks for (ISO/IEC 14496-12, 6.2.2; FFmpeg libavutil/display.h).

    Raises VideoUnreadable for a matrix that turns by anything but multiples of 90 degrees.
    """
    a, b, _, c, d = struct.unpack("<5i", matrix[:20])  # x' = a x + c y, y' = b x + d y, x to the right and y down
    scale = max(abs(a), abs(b), abs(c), abs(d))
    near_zero = scale // 100
    if scale and abs(b) <= near_zero and abs(c) <= near_zero:
        return Orientation(False, a < 0, d < 0)
    if scale and abs(a) <= near_zero and abs(d) <= near_zero:
        return Orientation(True, c < 0, b < 0)
    raise VideoUnreadable(
        "a video that is to be shown at an oblique angle", "a turn by 0, 90, 180 or 270 degrees", "convert the video"
    )


def display_size(width: int, height: int, aspect: float, orientation: Orientation) -> tuple[int, int]:
    """(width, height) as shown, from the coded size and the pixel aspect (width of a pixel over its height).

    Pixels that are not square are made square by changing the width, as players do; the picture is turned after that.
    """
    shown = max(1, round(width * aspect)), height
    return (shown[1], shown[0]) if orientation.transpose else shown


def show(frame: NDArray[np.uint8], orientation: Orientation, size: tuple[int, int]) -> NDArray[np.uint8]:
    """A decoded RGB picture, uint8[h, w, 3], as it is meant to be seen: uint8[H, W, 3] with ``size`` = (W, H)."""
    return resize_to(orientation.apply(frame), size)


def resize_to(frame: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """uint8[h, w, 3] -> uint8[H, W, 3] with ``size`` = (W, H); bicubic, and only where pixels are not square."""
    import numpy as np
    from PIL import Image

    if frame.shape[1::-1] == size:
        return np.ascontiguousarray(frame)
    return np.array(Image.fromarray(np.ascontiguousarray(frame)).resize(size, Image.Resampling.BICUBIC))
