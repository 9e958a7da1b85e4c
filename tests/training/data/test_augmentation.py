"""Training images: decoded by libjpeg-turbo where it is safe, cut and coloured by torchvision's rules."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from openmofi.encoders import Preprocessing, preprocess
from openmofi.pairs import decode_image
from openmofi.pairs.images.scaled import plain_jpeg
from openmofi.training.data.images import TrainingImages, UndecodableError, random_crop, transforms_of
from openmofi.training.model.towers import DualEncoder, Tower, normalised
from openmofi.training.recipe import Augment

SETTINGS = Preprocessing(32, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))


def smooth(width=320, height=240):
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([x, y, 255 - x], -1).astype(np.uint8))


def encoded(image, kind="JPEG", **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(smooth(), exif=exif)


def test_which_jpegs_are_decoded_directly():
    assert plain_jpeg(encoded(smooth())) == (240, 320, True)
    assert plain_jpeg(encoded(smooth().convert("L")))[2]
    assert plain_jpeg(turned(1))[2]
    assert not plain_jpeg(turned(6))[2]
    assert not plain_jpeg(encoded(smooth().convert("CMYK")))[2]
    assert not plain_jpeg(encoded(smooth(), "PNG"))[2]
    assert not plain_jpeg(encoded(smooth())[:20])[2]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    "data",
    [encoded(smooth(), quality=98), encoded(smooth(), "PNG"), turned(6), encoded(smooth().convert("L"), quality=98)],
    ids=["jpeg", "png", "turned", "grey"],
)
def test_crops_are_those_of_torchvision_up_to_the_scale_of_decoding(data, seed):
    augment = Augment(scale=(0.1, 0.9), flip=0.5)
    made = normalised(TrainingImages(SETTINGS, augment).batch([data], [seed])[0], SETTINGS)
    whole = Image.open(io.BytesIO(data)).convert("RGB")
    if data == turned(6):
        whole = whole.transpose(Image.Transpose.ROTATE_270)
    torch.manual_seed(seed)
    oracle = v2.Compose(
        [
            v2.PILToTensor(),
            v2.RandomResizedCrop(32, (0.1, 0.9), interpolation=v2.InterpolationMode.BICUBIC, antialias=True),
            v2.RandomHorizontalFlip(0.5),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(list(SETTINGS.mean), list(SETTINGS.std)),
        ]
    )
    # A smooth image: another scale of decoding changes it little, another crop much.
    assert (made - oracle(whole)).abs().mean() < 0.05


def test_colours_are_changed_before_normalising():
    augment = Augment(scale=(1.0, 1.0), flip=0.0, grayscale=1.0)
    (made,) = TrainingImages(SETTINGS, augment).batch([encoded(smooth(), "PNG")], [0])
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (SETTINGS.mean, SETTINGS.std))
    colours = made * std + mean
    assert torch.allclose(colours[0], colours[1], atol=1e-5)
    names = [type(found).__name__ for found in transforms_of(Augment(color_jitter=0.1, grayscale=0.1, rand_augment=2))]
    assert names == ["RandomHorizontalFlip", "ColorJitter", "RandomGrayscale", "RandAugment"]


@pytest.mark.parametrize(
    ("augment", "dtype"),
    [
        (Augment(color_jitter=0.5, rand_augment=1), torch.uint8),
        (Augment(scale=(1.0, 1.0)), torch.uint8),
        (Augment(scale=(1.0, 1.0), color_jitter=0.5), torch.float32),
    ],
)
def test_bytes_are_what_is_normalised_as_at_evaluation(augment, dtype):
    data, cut = [encoded(smooth()), encoded(smooth(), "PNG")], Augment(scale=(1.0, 1.0), flip=0.0)
    made = TrainingImages(SETTINGS, augment).batch(data, [1, 2])
    assert (made.dtype, made.shape) == (dtype, (2, 3, 32, 32))
    at_evaluation = torch.stack(
        [torch.from_numpy(preprocess(decode_image(each, size_hint=SETTINGS.decode_size), SETTINGS)) for each in data]
    )
    plain = normalised(TrainingImages(SETTINGS, cut).batch(data, [1, 2]), SETTINGS)
    torch.testing.assert_close(plain, at_evaluation, rtol=0, atol=1e-6)
    model = DualEncoder(Tower(torch.nn.Identity(), torch.nn.Identity(), {}), None, SETTINGS)
    assert torch.equal(model.image_input({"image": made}), normalised(made, SETTINGS) if dtype == torch.uint8 else made)


def test_an_image_depends_on_its_seed_alone():
    images = TrainingImages(SETTINGS, Augment(color_jitter=0.5))
    data = encoded(smooth())
    both = images.batch([data, data], [1, 2])
    assert torch.equal(images.batch([data], [2])[0], both[1])
    assert not torch.equal(both[0], both[1])


def test_extremes_are_images_too():
    strip = [encoded(smooth(2000, 3)), encoded(smooth(1, 1)), encoded(smooth(5, 700), "PNG")]
    for scale in ((1.0, 1.0), (0.08, 1.0)):
        made = TrainingImages(SETTINGS, Augment(scale=scale)).batch(strip, [0, 1, 2])
        assert made.shape == (3, 3, 32, 32)
        assert made.isfinite().all()
    good, broken = encoded(smooth()), encoded(smooth())[:900]
    with pytest.raises(UndecodableError) as caught:
        TrainingImages(SETTINGS, Augment()).batch([broken, good, broken[:30]], [0, 1, 2])
    assert list(caught.value.why) == [0, 2]


@pytest.mark.parametrize(
    ("height", "width", "scale", "ratio"),
    [
        (240, 320, (0.08, 1.0), (0.75, 4 / 3)),
        (300, 300, (0.9, 1.0), (0.5, 2.0)),
        (7, 400, (0.3, 1.0), (0.75, 4 / 3)),
        (400, 7, (0.3, 1.0), (0.75, 4 / 3)),
        (50, 60, (1.0, 1.0), (4.0, 5.0)),
    ],
)
def test_a_crop_is_drawn_as_torchvision_draws_it(height, width, scale, ratio):
    theirs = v2.RandomResizedCrop(32, scale, ratio)
    for seed in range(40):
        torch.manual_seed(seed)
        box = theirs.make_params([torch.empty(3, height, width)])
        state = torch.get_rng_state()
        torch.manual_seed(seed)
        ours = random_crop(height, width, scale, ratio)
        assert ours == (box["left"], box["top"], box["width"], box["height"])
        # What is drawn afterwards is the same too.
        assert torch.equal(torch.get_rng_state(), state)
