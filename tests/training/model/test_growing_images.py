"""Towers that take images of several sizes: the same numbers as timm's own, and which are refused."""

from dataclasses import replace

import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from timm.layers import resample_abs_pos_embed

from openmofi.config import changed
from openmofi.encoders import Preprocessing
from openmofi.errors import UsageError
from openmofi.plugins.growing_images import shares_of
from openmofi.plugins.planner.fake_passes import measured_towers
from openmofi.training.data.images import NO_AUGMENTATION, TrainingImages
from openmofi.training.model import build_model, inputs_of
from openmofi.training.recipe import Recipe

TOWERS = {
    "vit_tiny_patch16_224": (64, 32),  # class token
    "eva02_tiny_patch14_224": (56, 28),  # rotary positions too
    "vit_pe_core_tiny_patch16_384": (64, 32),  # and attention over what patches say
}


def settings_of(spec, size=0, **image):
    values = {"model.image.spec": spec, "model.image.size": size} | {f"model.image.{k}": v for k, v in image.items()}
    return changed(Recipe(), values).model


def built(spec, size=0, **image):
    settings = settings_of(spec, size, **image)
    return build_model(settings, inputs_of(settings), seed=0)


@pytest.mark.parametrize("name", TOWERS)
def test_a_tower_is_timms_of_any_size_and_at_its_own_size_what_it_was(name):
    size, small = TOWERS[name]
    growing, plain = (built(f"timm:{name}", size, **more) for more in ({"first_sizes": (small,)}, {}))
    # The same weights under the same names: what is written opens without it.
    assert growing.state_dict().keys() == plain.state_dict().keys()
    assert growing.image.architecture == plain.image.architecture
    theirs = timm.create_model(name, num_classes=0, img_size=size, dynamic_img_size=True)
    theirs.load_state_dict(growing.image.trunk.state_dict())
    theirs.train()
    for side, other in ((size, plain.image.trunk), (small, theirs)):
        pixels, outputs, gradients = torch.randn(2, 3, side, side), [], []
        for trunk in (growing.image.trunk, other):
            torch.manual_seed(1)
            trunk.zero_grad()
            outputs.append(trunk(pixels))
            outputs[-1].square().sum().backward()
            gradients.append([value.grad for value in trunk.parameters()])
        assert torch.equal(*outputs)
        assert all(torch.equal(one, two) for one, two in zip(*gradients, strict=True))


def test_positions_are_resampled_as_timm_resamples_a_checkpoint_for_another_size():
    trunk = built("timm:vit_tiny_patch16_224", 64, first_sizes=(32,)).image.trunk.eval()
    small = timm.create_model("vit_tiny_patch16_224", num_classes=0, img_size=32).eval()
    positions = resample_abs_pos_embed(trunk.pos_embed, (2, 2), (4, 4), num_prefix_tokens=1)
    small.load_state_dict({**trunk.state_dict(), "pos_embed": positions})
    pixels = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(trunk(pixels), small(pixels), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "spec", ["timm:test_resnet", pytest.param("open_clip:ViT-B-16-SigLIP", marks=pytest.mark.slow)]
)
def test_convolutional_towers_and_timms_in_open_clip_take_them(spec):
    small = 96
    model = built(spec, first_sizes=(small,))
    size = inputs_of(settings_of(spec)).preprocessing.size
    with torch.no_grad():
        for side in (small, size):
            assert model({"image": torch.randn(2, 3, side, side)})["image"].shape == (2, 512)


@pytest.mark.parametrize(
    ("spec", "size", "sizes", "said"),
    [
        ("open_clip:ViT-S-32", 0, (128,), "open_clip:ViT-S-32 takes no images of 128 pixels"),
        ("open_clip:RN50", 0, (128,), "open_clip:RN50 takes no images of 128 pixels"),
        ("timm:swin_tiny_patch4_window7_224", 0, (112,), "takes no images of 112 pixels"),
        ("timm:vit_tiny_patch16_224", 64, (40,), "takes no images of 40 pixels .*divisible by patch size"),
        ("timm:vit_tiny_patch16_224", 64, (48, 32), r"is \[48, 32\]; it must rise, to 64 at most"),
        ("timm:vit_tiny_patch16_224", 64, (80,), r"is \[80\]; it must rise, to 64 at most"),
        ("encoder:tiny", 0, (64,), "encoder:tiny takes images of one size"),
    ],
    ids=range(7),
)
def test_what_cannot_grow_is_refused(spec, size, sizes, said):
    with pytest.raises(UsageError, match=f"^model.image.first_sizes.*{said}") as refused:
        inputs_of(settings_of(spec, size, first_sizes=sizes))
    assert "\n" not in str(refused.value)


def test_a_clip_of_transformers_is_refused(clip_folder):
    with pytest.raises(UsageError, match="takes images of one size"):
        inputs_of(settings_of(f"hf:{clip_folder}", first_sizes=(16,)))


@given(
    steps=st.integers(1, 300),
    sizes=st.lists(st.integers(1, 223), min_size=1, max_size=5).map(sorted),
    share=st.floats(0, 1, exclude_max=True),
)
def test_sizes_rise_share_the_first_steps_evenly_and_leave_the_others_the_whole(steps, sizes, share):
    images = TrainingImages(
        Preprocessing(224, (0, 0, 0), (1, 1, 1), resize_size=256), NO_AUGMENTATION, first_sizes=(tuple(sizes), share)
    )
    seen = [images.at(step, steps).preprocessing.size for step in range(steps)]
    first = sum(size < 224 for size in seen)
    assert first == min(round(share * steps), steps - 1), "the last step has the whole"
    assert seen == sorted(seen)
    places = [step * len(sizes) // first for step in range(first)]
    assert [sizes[place] for place in places] == seen[:first]
    counts = [places.count(place) for place in range(len(sizes))]
    assert max(counts) - min(counts) <= 1
    # Held-out images have no step of a run.
    assert images.at(0, 0) is images
    small = images.at(0, steps).preprocessing
    assert small.resize_size == round(256 * small.size / 224)


def test_the_plan_counts_each_size_by_its_share_and_room_for_the_greatest():
    recipe = changed(Recipe(), {"model.image.spec": "timm:test_vit", "model.image.size": 160, "data.batch_size": 64})
    grown = changed(recipe, {"model.image.first_sizes": (80,), "model.image.first_share": 0.75})
    inputs = inputs_of(grown.model)
    assert shares_of(inputs) == {160: 0.25, 80: 0.75}
    other = changed(recipe, {"model.image.size": 80})
    found, whole, small = (measured_towers(each, inputs_of(each.model)) for each in (grown, recipe, other))
    for name in ("forward", "both"):
        assert getattr(found, name) == pytest.approx(
            0.25 * getattr(whole, name) + 0.75 * getattr(small, name), rel=1e-9
        )
    assert replace(found, forward=0, both=0, peaks=()) == replace(whole, forward=0, both=0, peaks=())
    assert found.peak(64) == pytest.approx(whole.peak(64), rel=0.02)
