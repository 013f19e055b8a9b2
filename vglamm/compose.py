"""The last stair of every walk: sights become tracks; a reply, its tracks and what was sampled become one Answer. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from vglamm.answer import Answer
from vglamm.language.phrases import parse_moments
from vglamm.records import Reply, Sampling, Sight, Track


def compose(
    question: str,
    reply: Reply,
    tracks: Sequence[Track],
    sampling: Sampling,
    *,
    source: str,
    model: str,
    end: float,
    timings: Mapping[str, float] | None = None,
) -> Answer:
    """source: path or URI. model: the checkpoint's identity. end: seconds, see :func:`vglamm.frames.end_of`."""
    moments, odd = parse_moments(reply.raw, sampling.llm_times, end)
    cut = (f"the file is truncated: only its first {sampling.source_frames} frames were read",) if sampling.truncated else ()
    return Answer(
        question=question,
        text=reply.text,
        raw=reply.raw,
        phrases=reply.phrases,
        tracks=tuple(tracks),
        moments=moments,
        sampling=sampling,
        source=source,
        model=model,
        finish=reply.finish,
        warnings=(*reply.warnings, *odd, *cut),
        timings=dict(timings or {}),
    )


def corrected(answer: Answer, number: int, track: Track, position: int, timings: Mapping[str, float] | None = None) -> Answer:
    """``answer`` with another track in place of track ``number``; a warning says on which frame a person corrected it."""
    phrase = next((phrase.text for phrase in answer.phrases if phrase.track == number), None)
    name = f"of {phrase!r}" if phrase is not None else f"{number}"
    return replace(
        answer,
        tracks=(*answer.tracks[:number], track, *answer.tracks[number + 1 :]),
        warnings=(*answer.warnings, f"the mask {name} was corrected by hand on grounding frame {position}"),
        timings=dict(timings or {}),
    )


def tracks(rows: Sequence[Sequence[Sight]], objects: int) -> tuple[Track, ...]:
    """rows: for each grounding frame the sights of all objects. Returns one track for each object."""
    return tuple(_track([row[s] for row in rows]) for s in range(objects))


def _track(sights: list[Sight]) -> Track:
    seen = [k for k, sight in enumerate(sights) if sight.rle is not None]
    return Track(
        rle=tuple(sight.rle for sight in sights),
        boxes=tuple(sight.box for sight in sights),
        scores=tuple(sight.score for sight in sights),
        score=sum(sights[k].score for k in seen) / len(seen) if seen else 0.0,
        first=seen[0] if seen else None,
        last=seen[-1] if seen else None,
    )
