"""Videos, images and arrays of frames behind one interface: which frames there are, when they are shown, and the frames.

``open_video`` examines a file in a child process, then picks the backend: decord for sparse frames of plain h264, hevc and vp9
in MP4, MOV and MKV, PyAV for everything else and for streams. Both give the same picture: turned, with square pixels, RGB.
A frame that cannot be had exactly is an error, never another frame. (Flipped bits inside a frame that every decoder lets pass
show as damage in that picture, and in those predicted from it, as in any player.)
"""

from __future__ import annotations

import itertools
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING
from urllib.request import url2pathname

import numpy as np
from numpy.typing import NDArray

from vglamm.errors import VideoFrameError, VideoNotFound, VideoTooLarge, VideoUnreadable
from vglamm.media import av_backend, decord_backend
from vglamm.media.limits import Limits
from vglamm.media.probe import Scan, VideoInfo, scan

if TYPE_CHECKING:
    from PIL.Image import Image

log = logging.getLogger(__name__)

Frames = NDArray[np.uint8]
IN_MEMORY = "<array>"
"""What the source of an answer is called whose frames were an array: it cannot be opened again."""


class VideoSource(ABC):
    """A video that can be asked for frames. Holds no open file and can be pickled.

    info: what it is. times: float64[F], presentation time of each frame in seconds, increasing; its length is the exact number
    of frames. truncated: bytes are missing at the end of the file, and ``times`` ends at the last good frame. progress: set
    by a process that decodes for another one, called for each picture that a decoder gives, also for those not asked for.
    """

    info: VideoInfo
    times: NDArray[np.float64]
    truncated: bool = False
    progress: Callable[[], None] | None = None

    def __len__(self) -> int:
        return len(self.times)

    def frames_at(self, indices: Sequence[int] | NDArray[np.integer]) -> Frames:
        """uint8[K, H, W, 3], RGB, the frames at ``indices`` in the order asked; an index may appear twice.

        Raises VideoFrameError for an index that does not exist or a frame that the file does not give up.
        """
        return self._sparse(self._checked(indices))

    def stream(
        self, indices: Sequence[int] | NDArray[np.integer] | None = None, chunk: int = 8
    ) -> Iterator[tuple[NDArray[np.int64], Frames]]:
        """(int64[k], uint8[k, H, W, 3]) for every frame, or for ``indices``, which must increase; k is at most ``chunk``.

        Memory is bounded by the chunk, whatever the length. Raises as :meth:`frames_at`.
        """
        if chunk < 1:
            raise VideoFrameError(f"chunks of {chunk} frames", "at least 1", "pass chunk=8")
        wanted = list(range(len(self))) if indices is None else self._checked(indices)
        for before, after in itertools.pairwise(wanted):
            if after <= before:
                raise VideoFrameError(f"frame {after} after frame {before}", "increasing indices", "sort them, or use frames_at")
        return self._chunks(wanted, chunk)

    def _chunks(self, wanted: list[int], chunk: int) -> Iterator[tuple[NDArray[np.int64], Frames]]:
        numbers: list[int] = []
        frames: list[Frames] = []
        for index, frame in self._walk(wanted):
            numbers.append(index)
            frames.append(frame)
            if len(frames) == chunk:
                yield np.array(numbers, np.int64), np.stack(frames)
                numbers, frames = [], []
        if frames:
            yield np.array(numbers, np.int64), np.stack(frames)

    def _checked(self, indices: Sequence[int] | NDArray[np.integer]) -> list[int]:
        wanted = [int(i) for i in indices]
        for index in wanted:
            if not 0 <= index < len(self):
                cut = ", and is truncated" if self.truncated else ""
                raise VideoFrameError(
                    f"frame {index} asked of {self.info.path!r}",
                    f"0 to {len(self) - 1}: it has {len(self)} frames{cut}",
                    "sample by len()",
                )
        return wanted

    def _sparse(self, wanted: list[int]) -> Frames:
        """Frames of ``wanted``, which may be in any order, each read once."""
        places: dict[int, list[int]] = {}
        for place, index in enumerate(wanted):
            places.setdefault(index, []).append(place)
        out = np.empty((len(wanted), self.info.height, self.info.width, 3), dtype=np.uint8)
        for index, frame in self._apart(sorted(places)):
            out[places[index]] = frame
        return out

    def _apart(self, wanted: list[int]) -> Iterator[tuple[int, Frames]]:
        """As :meth:`_walk`, for frames far apart. It may begin again from the first of ``wanted``: the later frames count."""
        return self._walk(wanted)

    @abstractmethod
    def _walk(self, wanted: list[int]) -> Iterator[tuple[int, Frames]]:
        """(index, uint8[H, W, 3]) for each of ``wanted``, which increase."""


class FileSource(VideoSource):
    """A video file."""

    def __init__(self, found: Scan) -> None:
        self.scan = found
        self.info = found.info
        self.times = found.pts.astype(np.float64) * float(found.time_base)
        self.truncated = found.truncated

    def _apart(self, wanted: list[int]) -> Iterator[tuple[int, Frames]]:
        if wanted and self.scan.plain and decord_backend.available():
            try:
                yield from decord_backend.walk(self.scan, wanted)
                return
            except decord_backend.Refused as refusal:
                log.info("%s: PyAV reads it", refusal)
        yield from self._walk(wanted)

    def _walk(self, wanted: list[int]) -> Iterator[tuple[int, Frames]]:
        return av_backend.walk(self.scan, wanted, self.progress)


class ImageSource(VideoSource):
    """A still image: one frame at time 0, turned as its EXIF orientation says."""

    def __init__(self, info: VideoInfo) -> None:
        self.info = info
        self.times = np.zeros(1)

    def _walk(self, wanted: list[int]) -> Iterator[tuple[int, Frames]]:
        frame = decode_image(self.info.path, [self.info.codec.upper()])
        for index in wanted:
            yield index, frame


def decode_image(path: str, formats: Sequence[str]) -> Frames:
    """uint8[H, W, 3], the image at ``path`` turned as its EXIF orientation says. formats: Pillow's names of those accepted.

    Raises VideoUnreadable for an image that is damaged or of another format, VideoTooLarge for one that Pillow refuses.
    """
    from PIL import Image

    try:
        with Image.open(path, formats=list(formats)) as image:
            return _rgb(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise refused_by_pillow(path, error) from error
    except (OSError, SyntaxError, ValueError) as error:
        raise VideoUnreadable(
            f"{path!r}, a damaged image ({error})", "an image that decodes to its end", "download or export it again"
        ) from error


def picture_of(image: Image, limits: Limits | None = None) -> Frames:
    """uint8[H, W, 3], a Pillow image as its file would be read. Raises VideoUnreadable (its file is damaged) or VideoTooLarge."""
    (limits or Limits()).check_size(*image.size)
    try:
        return _rgb(image)
    except (OSError, SyntaxError, ValueError) as error:  # Pillow reads a file when its pixels are asked for
        raise VideoUnreadable(
            f"an image that cannot be read ({error})", "an image that decodes to its end", "open it again, or convert it to RGB"
        ) from error


def _rgb(image: Image) -> Frames:
    from PIL import Image, ImageOps

    turned = ImageOps.exif_transpose(image)
    if turned.mode.startswith("I"):  # Pillow would clip 16-bit grey, not scale it
        grey = np.asarray(turned)
        if grey.size and not 0 <= grey.min() <= grey.max() < 1 << 16:
            raise ValueError(f"mode {turned.mode} with values from {grey.min()} to {grey.max()}")
        turned = Image.fromarray((grey >> 8).astype(np.uint8))
    if turned.mode == "F":
        raise ValueError("mode F, whose white may be 1 or 255")
    return np.array(turned.convert("RGB"))


def refused_by_pillow(path: str, error: Exception) -> VideoTooLarge:
    """What an image is that has more pixels than Pillow opens, whatever the limits here allow."""
    return VideoTooLarge(f"{path!r} ({error})", "an image that Pillow opens", "scale it down, or raise PIL.Image.MAX_IMAGE_PIXELS")


class ArraySource(VideoSource):
    """Frames that are already in memory: uint8[F, H, W, 3] at a constant rate."""

    def __init__(self, frames: Frames, fps: float) -> None:
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or 0 in frames.shape:
            raise VideoUnreadable(
                f"frames as {frames.dtype}{list(frames.shape)}", "uint8[F, H, W, 3] with F of at least 1", "pass RGB frames"
            )
        if not fps > 0:
            raise VideoUnreadable(f"frames at {fps} frames per second", "a rate above 0", "pass fps=, or source_fps= beside fps=")
        count, height, width = frames.shape[:3]
        self.frames = frames
        self.info = VideoInfo(IN_MEMORY, width, height, count, float(fps), count / fps, "raw", "array")
        self.times = np.arange(count) / fps

    def _walk(self, wanted: list[int]) -> Iterator[tuple[int, Frames]]:
        return ((index, self.frames[index]) for index in wanted)


def local_path(uri: str) -> str:
    """The path of a ``file://`` address, as ``Path.as_uri()`` writes it; anything else as it is."""
    return url2pathname("/" + uri.removeprefix("file://").partition("/")[2]) if uri.startswith("file://") else uri


def open_video(
    source: str | os.PathLike[str] | Frames, limits: Limits | None = None, *, fps: float | None = None, verify: bool = False
) -> VideoSource:
    """The video or image at a local path, a folder of frame images, or an array uint8[F, H, W, 3] with its ``fps``.

    limits: what is accepted (default :class:`Limits`). fps: the rate of frames that have none of their own, that is of an array,
    which needs it, or of a folder (default: :data:`vglamm.media.folder.DEFAULT_FPS`). verify: decode every frame once first, so
    that ``times`` holds exactly the frames that a damaged file still gives. Raises VideoNotFound, VideoUnreadable or VideoTooLarge,
    and VideoFrameError for the source of an answer about an array.
    """
    if isinstance(source, np.ndarray):
        limits = limits or Limits()
        found = ArraySource(source, fps if fps is not None else 0.0)
        limits.check("frames", len(found))
        limits.check_size(found.info.width, found.info.height)
        return found
    if not isinstance(source, str | os.PathLike):
        raise VideoUnreadable(
            f"a {type(source).__name__} for a video",
            "a path, an image, an array of frames or an opened video",
            "stack several frames into one array, uint8[F, H, W, 3]",
        )
    if source == IN_MEMORY:
        raise VideoFrameError("no frames of an answer about an array", "the frames that were asked", "pass video=")
    if isinstance(source, str) and "://" in source and not os.path.exists(source):
        if not source.startswith("file://"):
            told = "a path on this machine", "download it first; `vglamm annotate` reads addresses"
            raise VideoNotFound(f"the address {source!r}", *told)
        source = local_path(source)
    if os.path.isdir(source):
        from vglamm.media.folder import open_folder  # it builds on VideoSource of this module

        return open_folder(source, fps=fps, limits=limits)
    scanned = scan(source, limits, verify)
    return ImageSource(scanned.info) if scanned.info.is_image else FileSource(scanned)
