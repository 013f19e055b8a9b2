"""A folder of frame images as a video: the way most video data sets are kept.

Each image is one frame, read by Pillow when it is asked for. The folder has no clock, so its rate is given, not found.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence

import numpy as np

from vglamm.errors import VideoError, VideoFrameError, VideoNotFound, VideoTooLarge, VideoUnreadable
from vglamm.media.limits import Limits
from vglamm.media.probe import VideoInfo
from vglamm.media.read import Frames, VideoSource, decode_image, refused_by_pillow

DEFAULT_FPS = 25.0
"""Frames per second of a folder whose rate nobody gives: what ffmpeg takes for a sequence of images."""

FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP", ".bmp": "BMP"}
"""Suffixes of frames, in any case, and Pillow's names for them. Other files in the folder are not frames."""

_DIGITS = re.compile(r"(\d+)")


class FolderSource(VideoSource):
    """Frame images of a folder, in the order of ``names``, at a constant rate.

    Every frame must have the size of the first; one that is missing, damaged or of another size raises VideoFrameError with its
    name when it is asked for.
    """

    def __init__(
        self, path: str | os.PathLike[str], names: Sequence[str], fps: float = DEFAULT_FPS, limits: Limits | None = None
    ) -> None:
        """names: file names inside the folder, in the order of time. Reads the header of the first frame only.

        Raises VideoNotFound, VideoUnreadable or VideoTooLarge.
        """
        self.path = os.path.abspath(os.fspath(path))
        self.names = tuple(names)
        self.limits = limits or Limits()
        if not self.names:
            raise VideoUnreadable(f"{self.path!r} without a frame", f"images ({', '.join(FORMATS)})", "check the folder")
        if not fps > 0:
            raise VideoUnreadable(f"frames at {fps} frames per second", "a rate above 0", "pass fps=")
        count = len(self.names)
        for limit, value in (("frames", count), ("fps", fps), ("seconds", count / fps)):
            self.limits.check(limit, value)
        width, height = self._size(self._file(self.names[0]))
        codec = self._format(self.names[0]).lower()
        self.info = VideoInfo(self.path, width, height, count, float(fps), count / fps, codec, "folder")
        self.times = np.arange(count) / fps

    def _walk(self, wanted: list[int]) -> Iterator[tuple[int, Frames]]:
        for index in wanted:
            yield index, self._frame(index)

    def _frame(self, index: int) -> Frames:
        file = self._file(self.names[index])
        shown = self.info.width, self.info.height
        try:
            self._size(file)
            frame = decode_image(file, [self._format(file)])
        except VideoTooLarge:
            raise
        except VideoError as error:
            raise VideoFrameError(f"frame {index}: {error.got}", error.expected, error.fix) from error
        height, width = frame.shape[:2]
        if (width, height) != shown:
            raise VideoFrameError(
                f"frame {index}, {file!r}, of {width}x{height} pixels",
                f"{shown[0]}x{shown[1]}, as the header of frame 0 says",
                "keep the frames of one video in a folder",
            )
        return frame

    def _file(self, name: str) -> str:
        return os.path.join(self.path, name)

    def _format(self, name: str) -> str:
        suffix = os.path.splitext(name)[1].lower()
        if suffix not in FORMATS:
            raise VideoUnreadable(f"{name!r} as a frame", f"an image ({', '.join(FORMATS)})", "list the images only")
        return FORMATS[suffix]

    def _size(self, file: str) -> tuple[int, int]:
        """(width, height) as shown, from the header. Limits are checked, and no pixel is decoded."""
        from PIL import ExifTags, Image

        self.limits.check_file(file)
        try:
            with Image.open(file, formats=[self._format(file)]) as image:
                width, height = image.size
                self.limits.check_size(width, height)
                exif = Image.Image.getexif(image)  # that of PNG decodes the picture to see what is written after it
                turned = exif.get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise refused_by_pillow(file, error) from error
        except (OSError, SyntaxError, ValueError) as error:
            raise VideoUnreadable(f"{file!r}, a damaged image ({error})", "an image", "copy the frame again") from error
        return (height, width) if turned else (width, height)


def frame_names(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """The frame images of a folder in the order of their names, numbers by value (``2.jpg`` before ``10.jpg``).

    Hidden files and files that are no images (:data:`FORMATS`) are not frames. Raises VideoNotFound if there is no such folder,
    VideoUnreadable if it may not be listed.
    """
    try:
        found = os.listdir(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise VideoNotFound(f"no folder at {os.fspath(path)!r}", "a folder of frames", "check the path") from error
    except OSError as error:
        got = f"{error.strerror or error} for {os.fspath(path)!r}"
        raise VideoUnreadable(got, "a folder that can be listed", "check the path and its rights") from error
    frames = [name for name in found if not name.startswith(".") and os.path.splitext(name)[1].lower() in FORMATS]
    return tuple(sorted(frames, key=_by_number))


def open_folder(path: str | os.PathLike[str], *, fps: float | None = None, limits: Limits | None = None) -> FolderSource:
    """Every frame image of a folder, in the order of :func:`frame_names`, at ``fps`` (default :data:`DEFAULT_FPS`)."""
    return FolderSource(path, frame_names(path), DEFAULT_FPS if fps is None else fps, limits)


def _by_number(name: str) -> tuple[list[tuple[int, str]], str]:
    pieces = _DIGITS.split(name)
    return [(int(piece), "") if i % 2 else (0, piece) for i, piece in enumerate(pieces)], name
