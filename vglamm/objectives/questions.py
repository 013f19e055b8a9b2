"""What the grounding objective learns from: seeds of the generated world as questions, answers, prompt codes and pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vglamm.config import ModelConfig
from vglamm.data.sample import PHRASE_OPEN, Turn
from vglamm.data.world import Scene, dialogues, make_scene
from vglamm.data.world.codes import PROMPT, first_visible, owners, prompt_code, stranger_code, token_codes
from vglamm.data.world.lessons import LESSONS
from vglamm.data.world.words import KINDS
from vglamm.errors import DialogueError
from vglamm.language.branches import Packed, pack, shifted_labels
from vglamm.language.dialogue import IGNORED, Scribe
from vglamm.objectives.asides import asked
from vglamm.pixel.prepare import prepare as prepare_pixel
from vglamm.vision.prepare import prepare as prepare_vision

Item = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class QuestionPreparer:
    """seed -> packed questions and answers, prompt codes, visual tokens as codes or frames, and frames and masks for pixel.

    blind: one empty visual token instead of all: what can be learnt from words alone. branches: questions of one video. follow:
    share of branches with two or three turns. presence: share of scenes that are asked only for what is there and what is not, the
    hardest yes or no, if that can be asked of it. twins: share of videos with two objects that only their motion tells apart.
    motions, orders, spans, bindings: shares of videos that are asked only lessons of that kind (:mod:`vglamm.data.world.lessons`),
    each of those that the ones before leave. coming: share of the videos without twins in which something comes or goes.
    easy_share, hard_share: share of easy scenes, and of hard ones among the others. track, single: frames for masks, as in
    segmentation. prompts: most prompts of a video that masks are made for. absent: chance of one more, of an object that no frame
    shows. timed: also the places of numbers in answers about time, which are one token each in some tokenizers only.
    """

    config: ModelConfig
    scribe: Scribe
    difficulty: str = "normal"
    level: str | None = None
    tokens: str = "codes"
    blind: bool = False
    masks: bool = False
    branches: int = 6
    follow: float = 0.25
    presence: float = 0.0
    twins: float = 0.2
    motions: float = 0.0
    orders: float = 0.0
    spans: float = 0.0
    bindings: float = 0.0
    coming: float = 0.0
    image_share: float = 0.1
    easy_share: float = 0.0
    hard_share: float = 0.0
    track: int = 4
    single: int = 1
    prompts: int = 3
    absent: float = 0.0
    timed: bool = False

    def __call__(self, seed: int) -> Item:
        rng = np.random.default_rng((seed, 79))
        difficulty = self._difficulty(rng)
        image = bool(rng.random() < self.image_share)
        real = self.tokens == "frames" or self.masks
        wants = () if image else self._wanted(rng)
        scene = make_scene(seed, difficulty=difficulty, level=self.level, image=image, wants=wants, pixels=real)
        kinds = ("look", "absent") if self.presence and rng.random() < self.presence else None
        turns = dialogues(scene, rng, self.branches + 2, kinds) or dialogues(scene, rng, self.branches + 2)
        if not image:
            turns = self._lessons(scene, rng) or turns
        item = {**self._words(scene, turns, rng), "image": np.array(image), "shown": self._shown(scene)}
        if self.tokens == "frames":
            item |= self._frames(scene)
        elif not self.blind:
            item |= self._codes(scene)
        if self.masks:
            item |= self._targets(seed, scene, turns, rng)
        return item

    def _difficulty(self, rng: np.random.Generator) -> str:
        if rng.random() < self.easy_share:
            return "easy"
        return "hard" if self.hard_share and rng.random() < self.hard_share else self.difficulty

    def _lessons(self, scene: Scene, rng: np.random.Generator) -> list[Turn]:
        """None for a video that is asked everything, or that holds none of the kind it was to be asked."""
        for setting, lessons in LESSONS.items():
            share = getattr(self, setting)
            if share and rng.random() < share:
                return lessons(scene, rng)[: self.branches]
        return []

    def _wanted(self, rng: np.random.Generator) -> tuple[str, ...]:
        """What a video's scene must be able to answer."""
        if rng.random() < self.twins:
            return ("motion",)
        return ("when",) if self.coming and rng.random() < self.coming else ()

    def _words(self, scene: Scene, turns: list[Turn], rng: np.random.Generator) -> Item:
        vision = self.config.vision
        visual, frames = (vision.image_tokens, 0) if scene.is_image else (vision.video_tokens, vision.frames)
        visual = 1 if self.blind else visual
        groups: list[list[Turn]] = []
        left = list(turns)
        while left:
            size = int(rng.integers(2, 4)) if rng.random() < self.follow else 1
            groups.append(left[:size])
            left = left[size:]
        packed = pack(
            [self.scribe.teach([(t.question, t.answer) for t in group], visual=visual, frames=frames) for group in groups]
        )
        meant = [_single(target) - 1 for turn in turns for target in turn.targets]
        codes = np.stack([prompt_code(scene, item) for item in scene.objects])
        kinds = np.array([KINDS.index(group[0].kind) if len(group) == 1 else -1 for group in groups])
        labels = shifted_labels(packed)
        meant_kinds = np.array([KINDS.index(turn.kind) for turn in turns for _ in turn.targets], dtype=np.int64)
        early, of = self._early(packed, labels, turns)
        return {
            "ids": packed.ids,
            "labels": labels,
            "positions": packed.positions,
            "branch": packed.branch,
            "start": np.array(packed.start),
            "visual": np.array(packed.visual),
            "segs": np.array(packed.segs, dtype=np.int64),
            "codes": codes,
            "lasts": np.stack([prompt_code(scene, item, last=True) for item in scene.objects]),
            **asked(scene),
            **(self._said_times(packed, labels, turns) if self.timed else {}),
            "meant": np.array(meant, dtype=np.int64),
            "early": early,
            "early_meant": np.array(meant, dtype=np.int64)[of],
            "early_kinds": meant_kinds[of],
            "meant_kinds": meant_kinds,
            "kinds": kinds,
        }

    def _early(self, packed: Packed, labels: NDArray[np.int64], turns: list[Turn]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Positions before anything is said of an object, and which prompt is of the same: each ``<p>`` of an answer, and what
        predicts the first token of an answer that has prompts."""
        said = labels != IGNORED
        opened = np.flatnonzero(
            (packed.ids == self.scribe.tokenizer.convert_tokens_to_ids(PHRASE_OPEN)) & (packed.labels != IGNORED)
        )
        begun = np.flatnonzero(said & ~np.r_[False, said[:-1] & (packed.branch[1:] == packed.branch[:-1])])
        counts = np.array([len(turn.targets) for turn in turns])
        if (len(opened), len(begun)) != (len(packed.segs), len(turns)):
            raise DialogueError(
                f"{len(opened)} phrases and {len(begun)} answers for {len(packed.segs)} prompts of {len(turns)} turns",
                "a phrase of its own for each [SEG]",
                "fix the sample",
            )
        first = np.cumsum(counts) - counts
        return np.r_[opened, begun[counts > 0]], np.r_[np.arange(len(opened)), first[counts > 0]]

    def _said_times(self, packed: Packed, labels: NDArray[np.int64], turns: list[Turn]) -> Item:
        """Positions that predict the two numbers of each answer about time, and which objects these answers mean."""
        timed = np.array([_single(turn.targets[0]) - 1 for turn in turns if turn.kind == "when"], dtype=np.int64)
        digits = self.scribe.tokenizer.convert_tokens_to_ids([str(number) for number in range(self.config.vision.frames + 1)])
        said = np.flatnonzero(np.isin(labels, digits))
        if len(said) != 2 * len(timed):
            raise DialogueError(f"{len(said)} numbers in {len(timed)} answers about time", "two in each", "fix the sample")
        return {"timed": timed, "said_first": said[::2], "said_end": said[1::2]}

    def _codes(self, scene: Scene) -> Item:
        chosen, size, vision = scene.llm_frames, scene.id_map.shape[1], self.config.vision
        out: Item = {}
        for kind, grid in (("spatial", vision.spatial.grid), ("temporal", vision.temporal.grid)):
            out[f"{kind}_owner"] = owners(scene.id_map[chosen], grid)
            out[f"{kind}_code"] = np.stack([token_codes(o, size, temporal=kind == "temporal")[chosen] for o in scene.objects])
        return out

    def _shown(self, scene: Scene) -> NDArray[np.bool_]:
        """bool[N]: the visual tokens that hold something of an object."""
        if self.blind:
            return np.zeros(1, np.bool_)
        vision, found = self.config.vision, []
        for kind, side in (("spatial", vision.spatial_pool), ("temporal", vision.temporal_pool)):
            grid = getattr(vision, kind).grid
            covered = (owners(scene.id_map[scene.llm_frames], grid) > 0).reshape(-1, grid, grid)
            if scene.is_image:
                return covered.flatten()
            cells = covered.reshape(len(covered), side, grid // side, side, grid // side)
            found.append(cells.any(axis=(2, 4)).flatten())
        return np.concatenate(found)

    def _frames(self, scene: Scene) -> Item:
        seen = prepare_vision(scene.frames[scene.llm_frames], self.config.vision, image=scene.is_image)
        return {"spatial": seen.spatial} if seen.temporal is None else {"spatial": seen.spatial, "temporal": seen.temporal}

    def _targets(self, seed: int, scene: Scene, turns: list[Turn], rng: np.random.Generator) -> Item:
        """Frames and masks of some prompts that begin together; ``masks`` has one more if there is a ``stranger``."""
        targets = [_single(target) for turn in turns for target in turn.targets]
        kinds = np.array([KINDS.index(turn.kind) for turn in turns for _ in turn.targets], dtype=np.int64)
        starts = [first_visible(scene, scene.objects[target - 1]) for target in targets]
        start = int(rng.choice(starts)) if starts else 0
        same = [i for i, s in enumerate(starts) if s == start]
        picked = np.sort(rng.permutation(same)[: self.prompts]).astype(np.int64)
        stride = int(rng.integers(1, 4))
        last = len(scene.frames) - 1
        track = [min(start + k * stride, last) for k in range(self.track)]  # an image stands still
        single = [start, *rng.integers(0, len(scene.frames), max(self.single - 1, 0)).tolist()] if self.single else []
        chosen = np.array([*track, *single], dtype=np.int64)
        masks = [scene.mask(targets[i])[chosen] for i in picked]
        twin = [bool(scene.twins and targets[i] in scene.twins) for i in picked]
        strangers = [stranger_code(seed, scene, self.difficulty)] if len(picked) and rng.random() < self.absent else []
        masks += [np.zeros((len(chosen), *scene.id_map.shape[1:]), np.bool_) for _ in strangers]
        return {
            "frames": prepare_pixel(scene.frames[chosen], self.config.pixel).frames,
            "masks": np.stack(masks) if masks else np.zeros((0, len(chosen), *scene.id_map.shape[1:]), np.bool_),
            "least": np.array(scene.least_area),
            "twin": np.array([*twin, *[False] * len(strangers)], dtype=np.bool_),
            "track": np.array(len(track)),
            "picked": picked,
            "picked_kinds": np.array([*kinds[picked], *[-1] * len(strangers)], dtype=np.int64),
            "strangers": np.stack(strangers) if strangers else np.zeros((0, PROMPT), np.float32),
        }


def _single(target: Any) -> int:
    return target if isinstance(target, int) else int(target[0])
