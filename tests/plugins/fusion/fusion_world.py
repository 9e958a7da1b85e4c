"""A tiny tokenizer and a made-up world of namesakes, on which a tiny fusion decoder learns what contexts mean."""

import random
from dataclasses import replace

from tokenizers import Tokenizer, models, pre_tokenizers

from openmofi.plugins.fusion.examples import NIL, LinkCandidate, LinkExample
from openmofi.plugins.fusion.fusion_settings import FusionSettings

NAMES = [f"name{number}" for number in range(6)]
TOPICS = {
    "bird": "wing nest feather",
    "tool": "steel handle workshop",
    "city": "street mayor river",
    "song": "melody chorus singer",
}
WORDS = sorted(
    {
        *NAMES,
        *TOPICS,
        *(word for words in TOPICS.values() for word in words.split()),
        "the",
        "a",
        "of",
        "near",
        "none",
        "these",
        "with",
        "(",
        ")",
        "|",
        ":",
        '"',
        *"123456789",
    }
)
TINY = FusionSettings(
    base="scratch",
    context_tokens=12,
    candidate_tokens=8,
    width=32,
    layers=1,
    heads=2,
    feed_forward=64,
    decoder_layers=1,
    dropout=0.0,
    similarity=False,
    type=False,
)


def write_tokenizer(folder, words=()):
    special = ["<pad>", "</s>", "<unk>", *(f"<extra_id_{number}>" for number in range(4))]
    vocabulary = {word: number for number, word in enumerate([*special, *WORDS, *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def tiny(folder, words=(), **changes):
    return replace(TINY, tokenizer=str(write_tokenizer(folder, words)), **changes)


def make_examples(count, seed=0, nil=0.0, split="train"):
    draw = random.Random(seed)
    examples = []
    for _ in range(count):
        name = draw.choice(NAMES)
        topics = draw.sample(sorted(TOPICS), draw.randint(2, 4))
        right = topics[0]
        listed = [
            LinkCandidate(f"{name}/{topic}", f"{name} {topic}", TOPICS[topic], topic, 1 / len(topics))
            for topic in topics
        ]
        gold = f"{name}/{right}"
        if draw.random() < nil and len(listed) > 2:
            gold, listed = NIL, listed[1:]
        draw.shuffle(listed)
        hint = draw.choice(TOPICS[right].split())
        text = f"the {name} near a {hint}"
        examples.append(LinkExample(text, 4, 4 + len(name), tuple(listed), gold, split, name))
    return examples
