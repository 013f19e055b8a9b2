"""How large a video may be, and what the child processes that examine and decode it may use."""

from __future__ import annotations

import os
from dataclasses import dataclass

from vglamm.errors import VideoNotFound, VideoTooLarge, VideoUnreadable

GIB = 1024**3


@dataclass(frozen=True)
class Limits:
    """What is accepted; anything above raises VideoTooLarge before it costs memory or time.

    bytes: size of the file. pixels: width x height, as coded and as shown. aspect: the longer side over the shorter one, likewise:
    a tower that scales the shorter side to its own makes the longer one as many times as long, so that a strip of a few bytes would
    take gigabytes. frames, seconds: length of the video. fps: average frames per second. streams: tracks of any kind in the
    container. memory: address space of the child that examines the file and of one that decodes it (:mod:`vglamm.media.guarded`),
    in bytes; 4K needs 0.8 GiB. cpu_seconds: processor time of the child that examines; only containers without a trustworthy index
    (AVI, MPEG-TS, a damaged file) need more than a fraction of a second, since their frames are counted by decoding them.

    A child that decodes may use, for one request, cpu_seconds and cpu_seconds_per_megapixel more for every million pixels in
    the whole video (a slow core needs a fifth of it). stall_seconds: how long it may take from one decoded picture to the next.
    offline: both children leave the network, where the kernel allows it (:mod:`vglamm.media.isolation`).
    """

    bytes: int = 4 * GIB
    pixels: int = 8192 * 4320
    aspect: float = 100.0
    frames: int = 1_000_000
    seconds: float = 4 * 3600.0
    fps: float = 960.0
    streams: int = 32
    memory: int = 4 * GIB
    cpu_seconds: int = 600
    cpu_seconds_per_megapixel: float = 0.05
    stall_seconds: float = 120.0
    offline: bool = False

    def check(self, name: str, value: float) -> None:
        """Raise VideoTooLarge if ``value`` is over the limit called ``name``."""
        limit = getattr(self, name)
        if value > limit:
            raise VideoTooLarge(
                f"{value:g} {name} in the video", f"at most {limit:g}", f"shorten or scale the video, or raise Limits.{name}"
            )

    def check_size(self, width: float, height: float) -> None:
        """Raise VideoTooLarge for a picture over the limit on pixels or on the aspect."""
        self.check("pixels", width * height)
        long, short = max(width, height), min(width, height)
        if long > self.aspect * short:
            raise VideoTooLarge(
                f"a picture of {width:g} x {height:g}, a strip",
                f"a longer side of at most {self.aspect:g} times the shorter one",
                "crop the video, or raise Limits.aspect",
            )

    def check_file(self, path: str) -> None:
        """Raise VideoNotFound, VideoUnreadable (empty, not a regular file) or VideoTooLarge without opening the file."""
        try:
            stat = os.stat(path)
        except (FileNotFoundError, NotADirectoryError, ValueError) as error:
            raise VideoNotFound(f"no file at {path!r}", "the path of a video or image", "check the path") from error
        except OSError as error:
            raise VideoUnreadable(
                f"{error.strerror} for {path!r}", "a file that can be read", "check the path and its rights"
            ) from error
        if not os.path.isfile(path):
            raise VideoUnreadable(f"{path!r}, which is not a regular file", "a video or image file", "pass the path of a file")
        if stat.st_size == 0:
            raise VideoUnreadable(f"an empty file, {path!r}", "a video or image", "download or copy the file again")
        self.check("bytes", stat.st_size)
