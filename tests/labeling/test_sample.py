"""What a calibration's sample carries of the job's entities: those that it names, and no other."""

from dataclasses import fields, replace
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmofi.features.entity_table import EntityFeatures
from openmofi.labeling.calibrate.evidence import Evidence
from openmofi.labeling.calibrate.neighbours import Gallery, Space
from openmofi.labeling.calibrate.rounds import CalibrationSample, fit_rounds
from openmofi.labeling.label_job import renumbered

NAMES = pa.array([f"e{number:03d}" for number in range(100)])
ENTITIES = EntityFeatures.of(NAMES, np.zeros((100, 2), np.float16))


def evidence_of(entity, random_entity):
    rows = dict.fromkeys([field.name for field in fields(Evidence)], np.zeros(0))
    rows |= {"entity": np.array(entity, np.int64), "random_entity": np.array(random_entity, np.int64)}
    return Evidence(**rows)


@given(st.lists(st.integers(0, 99)), st.data(), st.none() | st.sets(st.integers(0, 120), max_size=9))
def test_numbers_name_the_same_entities_in_the_same_order(entity, data, witnesses):
    # Random images are drawn for the candidates' entities alone.
    drawn = data.draw(st.lists(st.sampled_from(entity))) if entity else []
    named = pa.array([f"e{number:03d}" for number in sorted(witnesses or ())], pa.string())
    gallery = witnesses if witnesses is None else SimpleNamespace(ids=named)
    found, ids = renumbered(evidence_of(entity, drawn), ENTITIES, gallery)
    assert [ids[number] for number in found.entity] == [NAMES[row].as_py() for row in entity]
    assert [ids[number] for number in found.random_entity] == [NAMES[row].as_py() for row in drawn]
    used = {*entity, *drawn, *(number for number in witnesses or () if number < 100)}
    assert ids == [NAMES[row].as_py() for row in sorted(used)]


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_calibration_is_the_same_whatever_other_entities_the_job_has(seed):
    draw, pairs, stride = np.random.default_rng(seed), 1200, 4
    named, number = draw.integers(0, 25, pairs), np.arange(pairs)
    features = 3.0 * draw.standard_normal((25, 8))[named] + draw.standard_normal((pairs, 8))
    other = draw.permutation(pairs)
    candidate = np.flatnonzero(named[other] != named)
    evidence = Evidence(
        *(draw.standard_normal(n).astype(np.float32) for n in (pairs, len(candidate))),
        np.full(pairs, 0.8, np.float32),
        number,
        number,
        named * stride,
        candidate,
        other[candidate],
        draw.standard_normal(4 * pairs).astype(np.float32),
        np.tile(named, 4) * stride,
        np.zeros(pairs, np.int64),
        np.full(len(candidate), -1),
        np.full(len(candidate), np.nan, np.float32),
    )
    evidence = replace(evidence, real=evidence.real + 1.5)
    space, texts = Space.of(features), [f"w{n}a w{n}b w{n}c" for n in number]
    images = space.project(features).astype(np.float16)

    def fitted(evidence, ids):
        gallery = Gallery.of(space, images, texts, ids, number, evidence.entity, evidence.link_score)
        return fit_rounds(
            CalibrationSample(
                evidence,
                ids,
                np.zeros(len(ids), np.float32),
                ["name"],
                np.zeros(pairs, np.int64),
                number,
                number.astype(np.uint64),
                gallery,
                gallery.nearest(images, gallery.words, number),
            )
        )

    whole, few = fitted(evidence, NAMES.to_pylist()), fitted(*renumbered(evidence, ENTITIES, None))
    assert few.calibration == whole.calibration
    np.testing.assert_array_equal(few.probability, whole.probability)
    assert len(few.gallery.ids) == 25 < len(whole.gallery.ids)
