"""Multipart forms read as they come: a part at a time, so that a file goes to its place without ever being held."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from vglamm.errors import RequestRefused, RequestTooLarge


@dataclass(frozen=True)
class Part:
    """The head of a part. name: of its field. is_file: it has a file name, which nobody looks at."""

    name: str
    is_file: bool


class Form:
    """The parts of a form in order: :meth:`part` gives the next one, and then :meth:`data` its bytes.

    chunks: the body. content_type: of the request. parts: at most. RequestRefused for what is no form.
    """

    def __init__(self, chunks: AsyncIterator[bytes], content_type: str, parts: int) -> None:
        boundary = parse_options_header(content_type)[1].get(b"boundary")
        if not boundary:
            raise refused("a form without a boundary")
        self._chunks, self._left = chunks, parts
        self._events: deque[Part | bytes | None] = deque()
        self._header, self._value, self._disposition = b"", b"", b""
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_header_field": self._field,
                    "on_header_value": self._header_value,
                    "on_header_end": self._header_end,
                    "on_headers_finished": self._head,
                    "on_part_data": lambda data, start, end: self._events.append(data[start:end]),
                    "on_part_end": lambda: self._events.append(None),
                },
            )
        except FormParserError as error:
            raise refused(str(error)) from error

    async def part(self) -> Part | None:
        """The next part, whose bytes are then to be read; None at the end."""
        event = await self._next()
        while event is not None and not isinstance(event, Part):  # bytes of a part that nobody read
            event = await self._next()
        if event is None:
            return None
        self._left -= 1
        if self._left < 0:
            raise refused("a form of too many parts")
        return event

    async def data(self) -> AsyncIterator[bytes]:
        """The bytes of the part that :meth:`part` gave."""
        while True:
            event = await self._next(inside=True)
            if event is None:
                return
            assert isinstance(event, bytes), "a part ends before the next one begins"
            yield event

    async def text(self, limit: int) -> str:
        """All of them as text. RequestTooLarge for more than ``limit`` bytes."""
        whole = bytearray()
        async for chunk in self.data():
            whole += chunk
            if len(whole) > limit:
                raise RequestTooLarge(f"a field of more than {limit} bytes", f"at most {limit}", "send less")
        try:
            return whole.decode()
        except UnicodeDecodeError as error:
            raise refused("a field that is not UTF-8") from error

    async def _next(self, inside: bool = False) -> Part | bytes | None:
        """The next event; None for the end of a part (``inside``) or of the form."""
        while True:
            while not self._events:
                chunk = await anext(self._chunks, None)
                if chunk is None:
                    if inside:
                        raise refused("a form that breaks off")
                    return None
                try:
                    self._parser.write(chunk)
                except FormParserError as error:
                    raise refused(str(error)) from error
            event = self._events.popleft()
            if event is not None or inside:
                return event

    def _begin(self) -> None:
        self._disposition = b""

    def _field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header, self._value = b"", b""

    def _head(self) -> None:
        _, told = parse_options_header(self._disposition.decode("latin-1"))
        name = told.get(b"name", b"").decode("utf-8", "replace")
        self._events.append(Part(name, b"filename" in told or name == "file"))


def refused(got: str) -> RequestRefused:
    return RequestRefused(got, "a form as in RFC 7578", "let a library write it")
