"""A shard's knowledge stands in its rows, whatever the batches; its texts are read together."""

import io

import numpy as np
import pytest
from PIL import Image
from small_stores import write_labels

from openmofi.encoders import open_encoder, preprocess
from openmofi.encoders.encoder import Encoder
from openmofi.pairs import Record, write_tar
from openmofi.plugins.reinforcement import Knowledge, ReinforceSettings, TeacherSpec, augmented, reinforce
from openmofi.plugins.reinforcement.teachers import whole_square
from openmofi.storage import expand_shards

COLOURS = ["red", "blue", "green", "black", "orange", "white", "pink"]
BROKEN = 3


def encoded(colour: str) -> bytes:
    out = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").resize((70, 60)).transform(
        (70, 60), Image.Transform.AFFINE, (1, 0, 5 * COLOURS.index(colour), 0, 1, 0)
    ).save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize("captions", [0, 2])
def test_rows_keep_what_is_theirs_and_texts_are_read_at_once(tmp_path, monkeypatch, captions):
    texts = [f"a {colour} thing, {'far ' * number}away" for number, colour in enumerate(COLOURS)]
    images = [b"broken" if number == BROKEN else encoded(colour) for number, colour in enumerate(COLOURS)]
    write_tar(
        tmp_path / "00000.tar",
        [Record(colour, image, text) for colour, image, text in zip(COLOURS, images, texts, strict=True)],
    )
    shards = expand_shards([str(tmp_path / "00000.tar")])
    labels = write_labels(
        tmp_path / "labels",
        shards,
        [
            [
                {"key": colour, "text": text, "status": "no_mention", "mentions": [], "entities": []}
                for colour, text in zip(COLOURS, texts, strict=True)
            ]
        ],
    )
    reads, read = [], Encoder.text_features
    monkeypatch.setattr(Encoder, "text_features", lambda self, texts: reads.append(list(texts)) or read(self, texts))
    # Four batches of two.
    settings = ReinforceSettings((TeacherSpec("tiny", 20.0),), augmentations=2, captions=captions, batch_size=4)
    counts = reinforce(shards, labels, tmp_path / "store", settings)
    usable = [number for number in range(len(COLOURS)) if number != BROKEN]
    assert [texts[number] for number in usable] in reads
    assert counts["status"] == {"image_broken": 1, "ok": len(usable)}
    assert counts["own_texts"] == (len(usable) if captions else 0)
    assert counts["fidelity_samples"] == len(usable)
    assert counts["fidelity"]["tiny"]["fp16"]["absolute"] < 1e-3
    knowledge, encoder = Knowledge.open(tmp_path / "store"), open_encoder("tiny")
    found = knowledge.take(["00000"] * len(COLOURS), COLOURS, np.ones(len(COLOURS), int), np.zeros(len(COLOURS), int))
    assert np.flatnonzero(~found.known).tolist() == [BROKEN]
    (image,), (text,), (caption,) = (list(part.values()) for part in (found.image, found.text, found.caption))
    pixels = [
        preprocess(
            Image.fromarray(
                augmented(images[number], found.augmentations[number], knowledge.size, knowledge.interpolation)
            ),
            whole_square(encoder.preprocessing),
        )
        for number in usable
    ]
    np.testing.assert_allclose(
        image[usable], encoder.project_images(encoder.image_features(np.stack(pixels))), atol=2e-3
    )
    alone = np.concatenate([encoder.embed_texts([texts[number]]) for number in usable])
    np.testing.assert_allclose(text[usable], alone, atol=2e-3)
    if captions:
        np.testing.assert_allclose(caption[usable], alone, atol=2e-3)
