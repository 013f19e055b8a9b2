"""The index of RefCOCO and its kin, ``refs(<name>).p``: a pickle from the days of Python 2, read without trusting it.

A pickle can call anything it can name. This reader lets it name nothing: lists, dictionaries, texts and numbers need no name, so
an honest index is read whole, and a file that asks for one class or function is refused before it is looked up. A JSON of the same
content beside it (``refs(<name>).json``) is preferred.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from vglamm.data.corpora.layout import Node, load
from vglamm.errors import CorpusError

_BROKEN = (pickle.UnpicklingError, EOFError, ValueError, TypeError, LookupError, AttributeError, OverflowError, MemoryError)
"""What unpickling raises on damaged or hostile bytes."""


class _Plain(pickle.Unpickler):
    """Finds no class and no function, so that nothing but plain containers and values comes out."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it refers to something outside itself")


def load_refs(folder: Path, name: str) -> Node:
    """``refs(<name>).json`` or else ``refs(<name>).p`` of ``folder``. CorpusError if there is neither, or it is not plain data."""
    path = folder / f"refs({name}).json"
    if path.is_file():
        return load(path)
    path = path.with_suffix(".p")
    try:
        with path.open("rb") as file:
            return Node(str(path), "", _Plain(file, encoding="utf-8").load())
    except FileNotFoundError as error:
        raise CorpusError(f"no file {path}", "the index of the data set, .p or .json", "check the root and the split") from error
    except _BROKEN as error:
        raise CorpusError(
            f"{path}, which is not a pickle of plain data ({error})",
            "lists, dictionaries, texts and numbers",
            "do not open it otherwise; download it again, or convert it to JSON where you trust it",
        ) from error
