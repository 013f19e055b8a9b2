"""Which replica gets a request: one that it names, or one that all requests of its session get."""

from __future__ import annotations

import hashlib

from ray.serve._private.request_router.pow_2_router import PowerOfTwoChoicesRequestRouter
from ray.serve.request_router import PendingRequest, RunningReplica


class Sticky(PowerOfTwoChoicesRequestRouter):
    """``session_id`` of a handle's options is the id of a replica that has something for this request, or any name, of which the
    same replica is made as long as the same replicas run (rendezvous hashing). It is a wish: where that replica is full or gone,
    and for requests without one, Serve's usual choice between two decides."""

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        usual: list[list[RunningReplica]] = await super().choose_replicas(candidate_replicas, pending_request)
        name = "" if pending_request is None else pending_request.metadata.session_id
        if not name or not candidate_replicas:
            return usual
        return [[max(candidate_replicas, key=lambda replica: _rank(name, replica.replica_id.unique_id))], *usual]


def _rank(name: str, replica: str) -> tuple[bool, bytes]:
    return name == replica, hashlib.blake2b(f"{name} {replica}".encode()).digest()
