"""Visual tokens and questions -> text and prompts, of many clients together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import numpy as np
from ray import serve as ray_serve

from serve.backends.engine import Engine
from serve.backends.wire import Asked, Cue, Header, Watched
from serve.contract import PhraseFound, Text
from serve.deployments.station import OTHERS, Station
from serve.setup import Setup
from serve.tracking import weights
from vglamm.identity import identity
from vglamm.language.phrases import parse_reply
from vglamm.records import Reply, VisualTokens
from vglamm.steps.language import LanguageStep

Told = Header | Text | PhraseFound | Cue | Reply


class Writer:
    """A model that writes: its engine, and what answers say of it."""

    def __init__(self, engine: Engine, identity: str) -> None:
        self.engine, self.identity = engine, identity

    def __del__(self) -> None:
        """Serve calls this, in a thread, when another model takes the place: those that are being answered still are."""
        self.engine.drain()


class Language:
    """Keeps several questions in flight."""

    def __init__(self, setup: Setup) -> None:
        self.setup, self.station = setup, Station(setup.profile, setup.profile.language)
        self.own = self._load("")

    async def write(self, watched: Watched, asked: Asked) -> AsyncGenerator[list[Told], None]:
        """What was seen of the video, then text and phrases as they are written, then the reply with its prompts. In pieces, since
        each one sent crosses to another process; of an answer that nobody reads meanwhile all but the first at the end."""
        name = ray_serve.get_multiplexed_model_id()
        writer = await self.other(name) if name else self.own
        step, question = writer.engine.step, (watched.tokens, asked.history, asked.question)
        read = await asyncio.get_running_loop().run_in_executor(self.station.worker, step.length, question)
        yield [replace(watched.header, model=writer.identity, read=read)]
        config = step.part.config
        work = len(watched.tokens.tokens) + (asked.writing.max_new_tokens or config.max_new_tokens)
        raw, prompts = "", []
        told: list[Told] = []
        began = False
        self.station.gauge.take(work)
        try:
            async with aclosing(writer.engine.pieces(question, **asked.writing.options)) as pieces:
                async for events in pieces:
                    self.station.prove()
                    for event in events:
                        if isinstance(event, str):
                            raw += event
                            told.append(Text(event))
                        elif isinstance(event, Reply):
                            told.append(event)
                        else:
                            told.append(PhraseFound(len(prompts), parse_reply(raw).phrases[-1].text))
                            prompts.append(event)
                            told += [Cue(np.stack(prompts))] if asked.live else []
                    if told and (asked.live or not began or isinstance(told[-1], Reply)):
                        yield told
                        told, began = [], True
        finally:
            self.station.gauge.done(work)

    @ray_serve.multiplexed(max_num_models_per_replica=OTHERS)
    async def other(self, name: str) -> Writer:
        return await asyncio.to_thread(self._load, name)

    def _load(self, name: str) -> Writer:
        profile, source = self.setup.profile, weights(self.setup.source(name), self.setup.registry)
        step = LanguageStep.load(source, device=self.station.device, dtype=profile.dtype, quantise=profile.quantise)
        self.station.stand_back()  # before the engine starts its thread
        return Writer(Engine(step, profile.language.rows, profile.language.batch), identity(source))

    async def where(self) -> dict[str, Any]:
        return self.station.where()

    def record_autoscaling_stats(self) -> dict[str, float]:
        return self.station.gauge.told()

    async def check_health(self) -> None:
        """One token about nothing, in company of whatever is in flight."""
        if self.station.proved:
            return
        nothing = VisualTokens(np.zeros((1, self.own.engine.step.part.config.width), np.float32), 0)
        async with aclosing(self.own.engine.ask((nothing, (), "?"), max_new_tokens=1)) as events:
            async for _ in events:
                self.station.prove()

    def __del__(self) -> None:
        self.station.close()
