"""What travels between two stages: plain values as JSON, and a few named arrays as their bytes. One schema at every border.

A video with its questions is one parcel. No float frame, dense mask or image feature is ever in it: names, 8-bit frames, visual
tokens, prompt vectors.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_ARRAY = pa.struct({"name": pa.string(), "dtype": pa.string(), "shape": pa.list_(pa.int64()), "data": pa.large_binary()})
SCHEMA = pa.schema({"position": pa.int64(), "plain": pa.string(), "arrays": pa.list_(_ARRAY)})


@dataclass
class Parcel:
    """One video on its way. position: in the manifest."""

    position: int
    plain: dict[str, Any]
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        return "error" in self.plain

    @property
    def filler(self) -> bool:
        """It only fills up its batch: nothing of it is counted or written."""
        return bool(self.plain.get("filler"))

    def fail(self, kind: str, message: str) -> Parcel:
        """The same video, given up: later stages pass it on untouched."""
        return Parcel(self.position, self.plain | {"error": [kind, message]})

    def spent(self, seconds: dict[str, float]) -> Parcel:
        """The same parcel with seconds by stage added to its timings."""
        return Parcel(self.position, self.plain | {"timings": self.plain["timings"] | seconds}, self.arrays)


def unpack(table: pa.Table) -> list[Parcel]:
    """Arrays are read-only, and copies: they do not keep their block from being freed."""
    parcels = []
    for row in table.to_pylist():
        arrays = {a["name"]: np.frombuffer(a["data"], np.dtype(a["dtype"])).reshape(a["shape"]) for a in row["arrays"]}
        parcels.append(Parcel(row["position"], json.loads(row["plain"]), arrays))
    return parcels


def pack(parcels: list[Parcel]) -> pa.Table:
    rows = [
        {
            "position": parcel.position,
            "plain": json.dumps(parcel.plain),
            "arrays": [
                {"name": name, "dtype": array.dtype.str, "shape": list(array.shape), "data": np.ascontiguousarray(array).tobytes()}
                for name, array in parcel.arrays.items()
            ],
        }
        for parcel in parcels
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def frozen(values: Mapping[str, Any], fields: Sequence[pa.Field]) -> str:
    """Passed-through columns of one row as text that keeps their types: an Arrow stream in base64."""
    table = pa.Table.from_pylist([dict(values)], schema=pa.schema(list(fields)))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return base64.b64encode(sink.getvalue()).decode()


def thawed(text: str) -> dict[str, Any]:
    """What :func:`frozen` kept."""
    with pa.ipc.open_stream(base64.b64decode(text)) as stream:
        rows = stream.read_all().to_pylist()
    return dict(rows[0]) if rows else {}
