"""Towers that `torch.compile` makes anew: the same features under the same names, or a sentence that says why not."""

import pickle
import shutil

import numpy as np
import pytest

from openmofi.encoders import as_encoder, open_encoder
from openmofi.encoders.devices import BOUND, LOW_BOUND
from openmofi.encoders.networks import CompiledTower, OnArrays
from openmofi.errors import UsageError

torch = pytest.importorskip("torch")

PIXELS = np.random.default_rng(0).standard_normal((5, 3, 32, 32)).astype(np.float32)


@pytest.fixture(scope="module")
def spec(clip_folder):
    return f"hf:{clip_folder}"


def compiling(monkeypatch, change):
    """In the place of `torch.compile`, which takes seconds and a C++ compiler: what becomes of a network's output."""
    made = []

    def fake(network):
        made.append(network)
        return lambda batch: change(network(batch))

    monkeypatch.setattr(torch, "compile", fake)
    return made


def test_a_compiled_encoder_has_the_names_and_features_of_its_own(monkeypatch, spec):
    made, encoder = compiling(monkeypatch, lambda features: features), open_encoder(spec)
    compiled = encoder.compiled()
    assert compiled.compiles
    assert not encoder.compiles
    assert compiled.compiled() is compiled
    assert compiled.describe() == {**encoder.describe(), "compiles": True}
    for _ in range(2):
        np.testing.assert_array_equal(compiled.image_features(PIXELS), encoder.image_features(PIXELS))
    assert len(made) == 1
    np.testing.assert_array_equal(compiled.embed_texts(["a sun"]), encoder.embed_texts(["a sun"]))


def test_a_pickle_is_compiled_where_it_is_opened(monkeypatch, spec):
    made = compiling(monkeypatch, lambda features: features)
    plain = pickle.loads(pickle.dumps(open_encoder(spec)))
    sent = pickle.loads(pickle.dumps(open_encoder(spec).compiled()))
    assert sent.compiles
    assert not plain.compiles
    assert len(made) == 2
    assert pickle.loads(pickle.dumps(sent)) is sent
    low = sent.with_precision("bf16")
    assert low.compiles
    assert pickle.loads(pickle.dumps(low)).compiles
    assert low.to("cpu") is low
    assert low.feature_fingerprint == open_encoder(spec, precision="bf16").feature_fingerprint


@pytest.mark.parametrize(
    ("precision", "factor", "refused"),
    [
        ("fp32", 1 + BOUND / 2, False),
        ("fp32", 1 + 2 * BOUND, True),
        ("fp32", float("nan"), True),
        ("bf16", 1 + LOW_BOUND / 2, False),
        ("bf16", 1 + 2 * LOW_BOUND, True),
    ],
)
def test_features_beyond_the_bound_are_refused(monkeypatch, spec, precision, factor, refused):
    compiling(monkeypatch, lambda features: features * factor)
    encoder = open_encoder(spec).compiled().with_precision(precision)
    if not refused:
        assert encoder.image_features(PIXELS).shape == (5, encoder.feature_dim)
        return
    for _ in range(2):
        with pytest.raises(UsageError, match="compiled, gives other features"):
            encoder.image_features(PIXELS)


def test_what_cannot_be_compiled_is_refused_in_a_sentence(monkeypatch, spec):
    def fails(features):
        raise RuntimeError("\nInvalidCxxCompiler: No working C++ compiler found.\n\nSet TORCHDYNAMO_VERBOSE=1")

    compiling(monkeypatch, fails)
    with pytest.raises(UsageError, match=r"cannot be compiled here: InvalidCxxCompiler: No working C\+\+ compiler f"):
        open_encoder(spec).compiled().image_features(PIXELS)


def test_a_batch_that_is_too_much_for_the_device_is_cut(monkeypatch, spec):
    lengths = []

    def limited(features):
        lengths.append(len(features))
        if len(features) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return features

    compiling(monkeypatch, limited)
    encoder = open_encoder(spec)
    compiled = encoder.compiled()
    compiled.image_features(PIXELS[:2])
    np.testing.assert_allclose(compiled.image_features(PIXELS), encoder.image_features(PIXELS), rtol=0, atol=1e-5)
    assert lengths[-4:] == [5, 2, 2, 1]


def test_an_encoder_without_a_network_is_refused():
    def features(values):
        return np.ones((len(values), 4), np.float32)

    with pytest.raises(UsageError, match="no network of PyTorch"):
        as_encoder((features, features)).compiled()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_torch_compiles_a_tower_whose_features_are_equal_within_the_bound(monkeypatch):
    import torch._inductor.config

    monkeypatch.setattr(torch._inductor.config, "compile_threads", 1)
    torch.manual_seed(0)
    tower = OnArrays(
        torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 5), torch.nn.GELU(), torch.nn.Flatten(), torch.nn.LazyLinear(16)
        ).eval(),
        "cpu",
    )
    expected = tower(PIXELS)
    compiled = CompiledTower(tower, "drawn")
    for _ in range(2):  # the first batch is made both ways
        assert np.abs(compiled(PIXELS) - expected).max() <= BOUND * np.abs(expected).max()
