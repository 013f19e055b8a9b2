"""Opening a container with PyAV the only way this package does it: local file, known formats, bounded pictures, one thread.

Shared by the child that examines a file and by the reader, so that both see the same frames.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vglamm.errors import VideoTooLarge, VideoUnreadable

# Demuxers that read one file and nothing else. Playlists (hls, dash, concat, image2) would open other files or hosts.
FORMATS = "mov,matroska,avi,mpegts,mpeg,mpegvideo,flv,ogg,asf,gif,h264,hevc,ivf,obu,av1,m4v,mxf,nut,mjpeg,rm,wtv,yuv4mpegpipe"
PROTOCOLS = "file,pipe"


@contextlib.contextmanager
def opened(path: str, pixels: int) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The container at ``path`` and its video stream. ``pixels``: the largest picture that a decoder may allocate.

    Raises VideoUnreadable if FFmpeg knows no container in the file, if the container is not one of :data:`FORMATS`, or if it has
    no video stream (a cover picture is none).
    """
    options = {"protocol_whitelist": PROTOCOLS, "format_whitelist": FORMATS, "max_pixels": str(pixels), "threads": "1"}
    # An absolute path begins with a slash, so nothing in it can be read as the scheme of a URL.
    try:
        container = av.open(os.path.abspath(path), options=options, metadata_errors="replace")
    except MemoryError as error:
        raise VideoTooLarge(f"{path!r}, which needs too much memory to open", "an ordinary video", "convert the file") from error
    except av.error.FFmpegError as error:
        raise VideoUnreadable(
            f"{path!r}, which FFmpeg cannot open ({error.strerror})",
            "a video or image file",
            "check the file, or convert it to MP4",
        ) from error
    with container:
        stream = _video_stream(container, path)
        context = stream.codec_context
        context.thread_count = 1
        context.options = {"max_pixels": str(pixels)}
        yield container, stream


def video_streams(container: InputContainer) -> list[VideoStream]:
    """The video streams that are not cover pictures and have a decoder."""
    return [s for s in container.streams.video if s.codec_context is not None and not s.disposition & Disposition.attached_pic]


def decoded(container: InputContainer, stream: VideoStream, strict: bool = False) -> Iterator[VideoFrame]:
    """Every frame that comes out of the decoder, in presentation order.

    A packet that the decoder refuses is passed over, and reading ends where the container can no longer be read. With ``strict``
    the first damage that shows ends the frames (those still inside the decoder come out first).
    """
    if strict:
        stream.codec_context.options = stream.codec_context.options | {"err_detect": "explode"}
    with contextlib.suppress(av.error.FFmpegError):
        for packet in container.demux(stream):
            if strict and packet.is_corrupt:
                break
            if packet.size == 0:  # a frame that was dropped when recording (AVI, Ogg), or the end: a decoder would stop here
                continue
            try:
                yield from packet.decode()
            except av.error.FFmpegError:
                if strict:
                    break
    with contextlib.suppress(av.error.FFmpegError):
        yield from stream.codec_context.decode(None)


def _video_stream(container: InputContainer, path: str) -> VideoStream:
    streams = video_streams(container)
    if not streams:
        raise VideoUnreadable(f"{path!r} without a video stream", "a file with pictures", "pass a video, not sound alone")
    best = container.streams.best("video")
    return best if best in streams else streams[0]
