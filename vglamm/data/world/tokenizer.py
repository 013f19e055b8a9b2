"""The tokenizer of models trained on the generated world: byte-level BPE in which every word of the world is one token.

Any other text still becomes bytes, so a user's own words never fail.
"""

from __future__ import annotations

from typing import Any

from vglamm.data.world.words import vocabulary

SPECIAL = ("<|endoftext|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>")
PLAIN = ("<p>", "</p>", "[SEG]")
FRAME = ("You", "are", "a", "helpful", "AI", "assistant", ".", "frames", ":", "(", ",", ")", "?")
PAD, END = 0, 1
VOCABULARY = 1536


def build_tokenizer() -> Any:
    """A ``PreTrainedTokenizerFast``; ids: 0 pad, 1 ``<|end|>``, the last ids are ``<p>``, ``</p>`` and ``[SEG]``."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    words = sorted({*vocabulary(), *FRAME})
    texts = [text for word in words for text in (word, f" {word}", word.capitalize())]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(PLAIN),
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=1,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts * 2, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=SPECIAL[0], eos_token=SPECIAL[1], clean_up_tokenization_spaces=False
    )
    fast.add_special_tokens({"additional_special_tokens": list(SPECIAL[2:])})
    fill = VOCABULARY - len(PLAIN) - len(fast)  # so that ids of the last three do not move with the words of the world
    fast.add_tokens([f"<|unused{i}|>" for i in range(fill)], special_tokens=False)
    fast.add_tokens(list(PLAIN), special_tokens=False)
    return fast
