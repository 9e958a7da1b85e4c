"""Devices that are not there, batches that a device cannot hold, images that are normalised on it."""

import subprocess
import sys
from dataclasses import replace
from itertools import count

import numpy as np
import pytest
from PIL import Image

from openmofi.encoders import Encoder, devices, open_encoder, preprocess
from openmofi.encoders.devices import RowLimit, autocast, device_named, normalised_on
from openmofi.encoders.preprocess import Preprocessing, as_bytes
from openmofi.errors import OpenMofiError, UsageError

torch = pytest.importorskip("torch")

NUMBERS = count()
BOUND = 1e-3
"""Between the features of two devices, of the greatest of them: docs/scale.md."""
SETTINGS = Preprocessing(32, (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
IMAGES = [
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40 + seed, 50, 3)).astype(np.uint8))
    for seed in range(3)
]


@pytest.mark.parametrize(
    ("device", "says"),
    [
        ("gpu", "Unknown device 'gpu'"),
        ("cuda:x", "Unknown device 'cuda:x'"),
        ("", "Unknown device ''"),
        ("hpu", "There is no device 'hpu' here"),
    ],
)
def test_a_device_that_there_is_not_is_named(device, says):
    with pytest.raises(UsageError, match=says):
        device_named(device)


@pytest.mark.parametrize(("count", "there"), [(1, "cuda:0"), (4, "cuda:0 to cuda:3")])
def test_a_number_beyond_the_gpus_is_refused_with_those_that_are_there(monkeypatch, count, there):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    assert device_named("auto") == "cuda"
    assert device_named(f"cuda:{count - 1}") == f"cuda:{count - 1}"
    with pytest.raises(UsageError, match=f"no device 'cuda:7': this machine has {there}"):
        device_named("cuda:7")


@pytest.mark.parametrize("there", ["mps", "xpu"])
def test_auto_takes_apples_and_intels_devices_where_there_is_no_cuda(monkeypatch, there):
    for name, kind in {"cuda": torch.cuda, "mps": torch.backends.mps, "xpu": torch.xpu}.items():
        monkeypatch.setattr(kind, "is_available", lambda name=name: name == there)
    assert device_named("auto") == there


def tower(most: int, sizes: list[int]):
    def run(batch):
        sizes.append(len(batch))
        if len(batch) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return 2 * batch

    return run


def test_a_batch_that_the_device_cannot_hold_is_cut_and_its_size_remembered(caplog):
    sizes, limit = [], RowLimit()
    batch = np.arange(10, dtype=np.float32)[:, None]
    for _ in range(2):
        np.testing.assert_array_equal(limit.within(tower(3, sizes), batch), 2 * batch)
    assert sizes == [10, 5, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2]
    assert [record.message for record in caplog.records] == [
        "The device has too little memory for a batch of 10; batches are of 5 from now on.",
        "The device has too little memory for a batch of 5; batches are of 2 from now on.",
    ]


def test_one_item_that_is_too_much_and_other_errors_are_raised():
    batch = np.zeros((4, 1), np.float32)
    with pytest.raises(OpenMofiError, match="too little memory for a batch of one"):
        RowLimit().within(tower(0, []), batch)
    with pytest.raises(RuntimeError, match="other"):
        RowLimit().within(lambda batch: (_ for _ in ()).throw(RuntimeError("other")), batch)


def test_an_encoder_remembers_what_its_device_holds():
    sizes: list[int] = []
    small = tower(16, sizes)
    encoder = plain(lambda pixels: small(flat(pixels)))
    pixels = np.random.default_rng(0).random((70, 3, 32, 32)).astype(np.float32)
    for _ in range(2):
        np.testing.assert_array_equal(encoder.image_features(pixels), 2 * flat(pixels))
    assert [size for size in sizes if size > 16] == [64, 32]


@pytest.mark.parametrize("resize", ["shortest", "squash"])
def test_bytes_normalised_on_a_device_are_the_bits_of_preprocess(resize):
    settings = replace(SETTINGS, resize=resize)
    expected = np.stack([preprocess(image, settings) for image in IMAGES])
    sent = np.stack([as_bytes(image, settings) for image in IMAGES])
    assert sent.dtype == np.uint8
    np.testing.assert_array_equal(normalised_on("cpu", sent, settings).numpy(), expected)


def test_an_encoder_elsewhere_takes_bytes_and_gives_the_same_features(monkeypatch):
    encoder = plain(flat)
    expected = encoder.image_features(encoder.batch([encoder.preprocess(image) for image in IMAGES]))
    monkeypatch.setattr(Encoder, "normalises", True)
    sent = encoder.batch([encoder.preprocess(image) for image in IMAGES])
    assert sent.dtype == np.uint8
    np.testing.assert_array_equal(encoder.image_features(sent), expected)


@pytest.mark.parametrize(
    ("change", "normalises"),
    [
        ({}, False),
        ({"device": "cuda"}, True),
        ({"device": "cuda", "takes_images": True}, False),
        ({"device": "cuda", "preprocessing": replace(SETTINGS, antialias=False)}, False),
    ],
)
def test_images_go_as_bytes_to_a_device_whose_encoder_takes_pixels_of_pillow(change, normalises):
    assert replace(plain(flat), **change).normalises == normalises


def test_autocast_is_of_the_devices_kind():
    with autocast("cpu", "bf16"):
        assert torch.is_autocast_enabled("cpu")
    with autocast("cpu", "fp32"):
        assert not torch.is_autocast_enabled("cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs: CUDA")
@pytest.mark.parametrize("spec", ["backbone:efficientnet-lite0+minilm"])
def test_features_of_a_gpu_are_the_cpus_within_the_stated_bound(spec):
    here, there = (open_encoder(spec, device=device) for device in ("cpu", "cuda"))
    images = [
        encoder.image_features(encoder.batch([encoder.preprocess(image) for image in IMAGES]))
        for encoder in (here, there)
    ]
    texts = [encoder.text_features(["a crane", "two red apples on a table"]) for encoder in (here, there)]
    for expected, given in (images, texts):
        assert np.abs(given - expected).max() <= BOUND * np.abs(expected).max()


def flat(pixels) -> np.ndarray:
    return np.asarray(pixels, np.float32).reshape(len(pixels), -1)


def plain(image_tower) -> Encoder:
    """An encoder of images alone, whose fingerprint no other test's has."""
    name, dim = f"devices-{next(NUMBERS)}", 3 * SETTINGS.size**2
    return Encoder("test:devices", name, name, dim, dim, 0, None, SETTINGS, image_tower, None, lambda rows: rows, None)


PROGRAM = """
import resource, sys
import numpy as np
from openmofi.encoders.devices import keep_freed_memory

kept = [keep_freed_memory(float(most)) for most in sys.argv[1:]]
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    block = np.ones(8_000_000)  # 64 MB, each page written
    del block
print(*map(int, kept), resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(*most):
    done = subprocess.run([sys.executable, "-c", PROGRAM, *most], check=True, capture_output=True, text=True)
    *kept, count = map(int, done.stdout.split())
    return kept, count


@pytest.mark.skipif(sys.platform != "linux", reason="needs: glibc")
def test_a_block_that_was_freed_is_not_fetched_from_the_system_again():
    _, many = faults()
    for most in ("inf", "268435456"):
        kept, few = faults(most)
        assert kept == [1]
        assert few < many / 4
    kept, few = faults("268435456", "inf", "268435456")
    assert kept == [1, 1, 0], "the largest holds"
    assert few < many / 4


@pytest.mark.skipif(sys.platform != "linux", reason="needs: glibc")
def test_blocks_over_half_of_what_is_kept_go_back_to_the_system():
    _, many = faults()
    _, count = faults("67108864")
    assert count > many / 2


def test_what_the_environment_says_goes_first(monkeypatch):
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "131072")
    assert not devices.keep_freed_memory(float("inf"))


def test_an_encoder_on_cpu_keeps_what_it_frees(monkeypatch):
    asked = []
    monkeypatch.setattr("openmofi.encoders.networks.keep_freed_memory", lambda: asked.append(1))
    from openmofi.encoders.networks import OnArrays

    OnArrays(torch.nn.Identity(), "cpu")
    OnArrays(torch.nn.Identity(), "meta")
    assert asked == [1]
