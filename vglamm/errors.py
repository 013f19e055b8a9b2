"""The error tree: every error a user, a file or a config can cause is one of these.

    VglammError
    ├── VideoError          a video or image cannot be used
    │   ├── VideoNotFound       no such file
    │   ├── VideoUnreadable     empty, damaged, not a video, no video stream, no frame
    │   ├── VideoTooLarge       over a limit on bytes, pixels, aspect, frames, seconds or streams
    │   └── VideoFrameError     a frame that was asked for cannot be had exactly
    ├── DialogueError       a question or an answer cannot be used (empty, too long, misaligned)
    ├── MaskError           masks, RLE or prompts do not fit each other
    ├── CorpusError         a data set on disk is incomplete or is not laid out as documented
    ├── CheckpointError     a checkpoint is missing, incomplete or does not fit its config
    ├── ConfigError         a config, preset, recipe or override is wrong
    ├── WorkerLost          a process that worked on it was lost again and again
    ├── ServeError          the endpoint cannot serve a request
    │   ├── Overloaded          too many requests wait; it says when to come again
    │   │   ├── TooManyRequests     of one client
    │   │   └── InUse               something else is done with it at the moment
    │   ├── SessionGone         the session expired, or what it needs is no longer there
    │   ├── ModelUnknown        no model of that name is served
    │   ├── NotKept             no video, job or turn of that name
    │   ├── AnswerTooSlow       the endpoint took a request and is silent for too long
    │   ├── RequestRefused      a request that is not as documented
    │   │   ├── RequestTooLarge     over a limit on bytes
    │   │   └── RequestTooSlow      its bytes take too long to come
    │   ├── Unauthorised        no token, or a wrong one
    │   ├── Forbidden           asked from another site, or under a name that is not the server's
    │   └── UrlRefused          an address that the server does not fetch
    └── EnvironmentProblem  something of the machine is missing (a package, a program, memory)

Every message has three parts: what was got, what was expected, what to do.
"""

from __future__ import annotations


class VglammError(Exception):
    """Root of the tree. ``got``, ``expected`` and ``fix`` are kept for callers that show them apart."""

    def __init__(self, got: str, expected: str, fix: str) -> None:
        self.got, self.expected, self.fix = got, expected, fix
        super().__init__(f"got {got}; expected {expected}; {fix}")

    def __reduce__(self) -> tuple[type[VglammError], tuple[str, str, str]]:
        return type(self), (self.got, self.expected, self.fix)  # survives a process border (Ray, multiprocessing)


class VideoError(VglammError):
    """A video or image cannot be used."""


class VideoNotFound(VideoError):
    """No file at that path."""


class VideoUnreadable(VideoError):
    """Empty, damaged, not a video, without a video stream or without a frame."""


class VideoTooLarge(VideoError):
    """Over a limit on bytes, pixels, aspect, frames, seconds or streams."""


class VideoFrameError(VideoError):
    """A frame that was asked for cannot be had exactly."""


class DialogueError(VglammError):
    """A question or an answer cannot be used: empty, too long, or its tokens do not line up."""


class MaskError(VglammError):
    """Masks, their RLE or their prompts do not fit each other."""


class CorpusError(VglammError):
    """A data set on disk: a file or key is missing, an id does not exist, or sizes and counts do not agree."""


class CheckpointError(VglammError):
    """A checkpoint is missing, incomplete, or does not fit its config."""


class ConfigError(VglammError):
    """A config, preset, recipe or override is wrong."""


class WorkerLost(VglammError):
    """A process of a cluster that worked on something was lost more often than it is tried again."""


class ServeError(VglammError):
    """The endpoint cannot serve a request."""


class Overloaded(ServeError):
    """Too many requests wait. ``retry_after``: seconds after which to come again."""

    def __init__(self, got: str, expected: str, fix: str, retry_after: float = 1.0) -> None:
        super().__init__(got, expected, fix)
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[type[Overloaded], tuple[str, str, str, float]]:  # type: ignore[override]
        return type(self), (self.got, self.expected, self.fix, self.retry_after)


class TooManyRequests(Overloaded):
    """One client has as many requests in flight as it may."""


class SessionGone(ServeError):
    """The session expired, or what it needs is no longer there."""


class ModelUnknown(ServeError):
    """No model of that name is served."""


class NotKept(ServeError):
    """No video, job or turn of that name: it expired, was deleted, or never was."""


class InUse(Overloaded):
    """Something else is done with it at the moment."""


class AnswerTooSlow(ServeError):
    """The endpoint took a request, and nothing is heard of it for too long."""


class RequestRefused(ServeError):
    """A request that is not as documented."""


class RequestTooLarge(RequestRefused):
    """Over a limit on bytes."""


class RequestTooSlow(RequestRefused):
    """Its bytes take too long to come."""


class Unauthorised(ServeError):
    """No token, or a wrong one."""


class Forbidden(ServeError):
    """Asked from a page of another site, or under a name that is not the server's."""


class UrlRefused(ServeError):
    """An address that the server does not fetch."""


class EnvironmentProblem(VglammError):
    """Something of the machine is missing: a package, a program, memory."""
