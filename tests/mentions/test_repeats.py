"""What a corpus repeats: boilerplate is found, and what varies in a frame or is only frequent is not."""

import random

import numpy as np
import pyarrow as pa
import pytest

from openmofi.engine.two_pass import merged
from openmofi.mentions.repeats import RepeatMerge, Repeats, WordHashes, least_images, summary
from openmofi.schema import NGRAMS

NOUNS = [
    f"{first}{last}"
    for first in ("lo", "ma", "ti", "pe", "su", "ka")
    for last in ("rin", "dop", "sel", "bat", "gum", "fet", "nil", "zor", "wex", "vyn")
]
FRAMES = [
    "a photo of {}",
    "{} isolated on white background",
    "{} by the water at night",
    "here you can see {} today",
    "my favourite {} of all",
    "the story of {} and how it began",
    "buy {} for less in our shop",
]
COLLECTIONS = [
    "part of the wide meadow icon library, see the other icons too",
    "gramastar. stars, shapes, magick, geometry",
    "licensed under terms that nobody ever reads, sorry",
]


def spread(texts: list[str], images: list[str] | None = None, shards: int = 4) -> tuple[list[list[str]], Repeats]:
    """The texts in shards, and what the corpus repeats."""
    images = images or [f"{number:016x}" for number in range(len(texts))]
    parts = [(texts[shard::shards], images[shard::shards]) for shard in range(shards)]
    tables = [summary(of_shard, digits) for of_shard, digits in parts]
    found = merged(RepeatMerge(len(texts), sum(map(len, tables))), lambda: tables)
    return [of_shard for of_shard, _ in parts], Repeats(found)


def held(repeats: Repeats, text: str, word: str) -> bool:
    marked = repeats.of_texts([text]).get(0)
    start = text.index(word)
    return marked is not None and marked.holds(start, start + len(word))


def captions(count: int, draw: random.Random) -> list[str]:
    """Frames with one or two nouns, the frequent ones much more often."""
    weights = [1 / (rank + 1) for rank in range(len(NOUNS))]
    return [
        draw.choice(FRAMES).format(" and ".join(draw.choices(NOUNS, weights, k=draw.choice((1, 2)))))
        for _ in range(count)
    ]


@pytest.mark.parametrize("count", [300, 3000, 20_000])
def test_nothing_that_fills_a_slot_is_marked(count):
    shards, repeats = spread(captions(count, random.Random(1)))
    for texts in shards:
        for number, marked in repeats.of_texts(texts).items():
            for noun in NOUNS:
                if (start := texts[number].find(noun)) >= 0:
                    assert not marked.holds(start, start + len(noun)), texts[number]


@pytest.mark.parametrize("classes", [2, 5])
def test_a_corpus_of_few_classes_keeps_them(classes):
    draw = random.Random(2)
    texts = [f"a blurry photo of a {draw.choice(NOUNS[:classes])} in the wild, seen from far away" for _ in range(2000)]
    _, repeats = spread(texts)
    assert not any(held(repeats, text, noun) for text in texts[:50] for noun in NOUNS[:classes] if noun in text)
    assert held(repeats, texts[0], "wild")


def test_what_collections_add_is_marked_and_what_they_name_is_not():
    draw = random.Random(3)
    plain = captions(6000, draw)
    texts = [f"{text}. {draw.choice(COLLECTIONS)}" if number % 3 == 0 else text for number, text in enumerate(plain)]
    _, repeats = spread(texts)
    for text, caption in list(zip(texts, plain, strict=True))[:600:3]:
        added = text[len(caption) + 2 :]
        marked = repeats.of_texts([text])[0]
        for word in added.replace(".", " ").replace(",", " ").split():
            start = text.index(word, len(caption))
            assert marked.holds(start, start + len(word)), (text, word)
        assert marked.template != 0
    assert not held(repeats, f"{plain[1]}, stars and shapes", "stars")


def test_frequent_names_and_short_collocations_are_not_marked():
    draw = random.Random(4)
    texts = captions(3000, draw)
    texts += ["red apple"] * 300 + [f"{draw.choice(NOUNS)} brushing her teeth {draw.choice(NOUNS)}" for _ in range(300)]
    _, repeats = spread(texts)
    assert not held(repeats, "red apple", "red apple")
    assert not held(repeats, f"{NOUNS[0]} brushing her teeth", "teeth")


def test_a_name_that_is_a_run_of_its_own_is_not_marked():
    texts = [f"{noun} church of the holy sepulchre in the old city {other}" for noun in NOUNS for other in NOUNS]
    fixed, _ = texts[0].split(" ", 1)[1].rsplit(" ", 1)
    _, repeats = spread(texts)
    assert held(repeats, texts[0], "old city")
    assert not held(repeats, texts[0], fixed)


def test_a_phrase_of_a_run_that_stands_freely_beside_one_is_not_marked():
    tail = "see our lonely moon over every single page of this site"
    texts = [f"{noun} and {other}. {tail}" for noun in NOUNS for other in NOUNS]
    _, repeats = spread(texts)
    beside = f"our lonely moon. {tail}"
    marked = repeats.of_texts([beside])[0]
    assert not marked.holds(beside.index("moon"), beside.index("moon") + 4)
    assert marked.holds(beside.rindex("moon"), beside.rindex("moon") + 4)


def test_one_image_many_times_repeats_nothing():
    texts = captions(2000, random.Random(5)) + ["acme and sons make the finest garden tools in town"] * 400
    images = [f"{number:016x}" for number in range(2000)] + ["00000000000000ff"] * 400
    _, repeats = spread(texts, images)
    assert not held(repeats, texts[-1], "garden")
    _, repeats = spread(texts)
    assert held(repeats, texts[-1], "garden")


def test_what_tasks_hold_does_not_grow_with_pairs_of_one_text():
    """200,000 pairs in 20 blocks, whose n-grams all fall in the same cells."""
    text, pairs = "acme and sons make the finest garden tools in town", 200_000
    table = summary([text] * 10_000, [f"{number:016x}" for number in range(10_000)])
    assert len(table) < 30
    merge = RepeatMerge(pairs, 20 * len(table))
    sketch = merge.sketch(table for _ in range(10))
    assert sketch.nbytes == merge.sketch([table]).nbytes
    both = merge.combined(sketch, merge.sketch(table for _ in range(10)))
    parts = [merge.counted((table for _ in range(10)), both) for _ in range(2)]
    assert [len(part) for part in parts] == [len(table)] * 2
    found = merge.joined(parts)
    assert set(found["images"].to_pylist()) == {pairs}
    assert held(Repeats(found), text, "garden")


def test_numbers_and_case_do_not_matter():
    _, repeats = spread([f"{noun}. Taken at {hour}:30 with my new Camera phone" for noun in NOUNS for hour in range(9)])
    assert held(repeats, "something else. TAKEN AT 17:59 WITH MY NEW CAMERA PHONE", "CAMERA")


def test_the_order_and_the_number_of_shards_do_not_matter():
    texts = [f"{text}. {COLLECTIONS[0]}" for text in captions(500, random.Random(6))]
    tables = [spread(texts, shards=shards)[1].table for shards in (1, 3, 7)]
    assert tables[0] == tables[1] == tables[2]
    assert len(tables[0])


def test_the_kept_counts_are_exact_however_small_the_sketch(monkeypatch):
    texts = captions(3000, random.Random(7))
    whole = summary(texts, [f"{number:016x}" for number in range(len(texts))])
    expected = whole.filter(pa.array(whole["images"].to_numpy() >= least_images(len(texts))))
    monkeypatch.setattr("openmofi.mentions.repeats._SKETCH_BITS", (6, 6))
    parts = [summary(texts[start::3], [f"{row:016x}" for row in range(start, len(texts), 3)]) for start in range(3)]
    found = merged(RepeatMerge(len(texts), sum(map(len, parts))), lambda: parts)
    assert found["ngram"] == expected["ngram"]
    assert found["images"] == expected["images"]


def test_least_images_grows_slower_than_the_corpus():
    assert [least_images(rows) for rows in (0, 100, 8121, 10**6, 10**9)] == [10, 10, 31, 334, 10541]


@pytest.mark.parametrize("texts", [[], [""], ["one"], ["", "two words", "…"], ["single text of some length here"] * 5])
def test_small_and_empty_corpora_repeat_nothing(texts):
    _, repeats = spread(texts, shards=1)
    assert len(repeats.table) == 0
    assert repeats.of_texts(texts) == {}
    assert summary(texts, ["1"] * len(texts)).schema == NGRAMS


def test_equal_texts_alone_are_boilerplate_from_five_words_on():
    _, repeats = spread(["a long sentence that says the very same"] * 200)
    assert held(repeats, "a long sentence that says the very same", "sentence")
    _, repeats = spread(["small red apple"] * 200)
    assert not held(repeats, "small red apple", "apple")


def test_a_third_word_decides_where_two_do_not():
    """ "icons theme" and "icons device" both stand behind "computer icons"; what stands before that tells which."""
    texts = [f"{noun}. sky sea action computer icons theme" for noun in NOUNS]
    texts += [f"{noun}. here is filesystem computer icons device" for noun in NOUNS]
    _, repeats = spread(texts)
    assert held(repeats, texts[0], "theme")
    assert held(repeats, texts[-1], "device")


def test_ngrams_stay_within_their_text():
    words = WordHashes.of(["a b c", "d", "", "e f g h"])
    assert words.row.tolist() == [0, 0, 0, 1, 3, 3, 3, 3]
    assert words.ngrams(3)[1].tolist() == [0, 4, 5]
    assert words.ngrams(2)[1].tolist() == [0, 1, 4, 5, 6]
    assert len(np.unique(np.concatenate([words.ngrams(2)[0], words.ngrams(3)[0]]))) == 8


def test_cells_that_are_full_stay_full():
    merge, most = RepeatMerge(10, 10), 2**32 - 1
    first, second = np.array([[1, most - 1, most]], np.uint32), np.array([[2, 5, 1]], np.uint32)
    assert merge.combined(first, second).tolist() == [[3, most, most]]
