"""MobileCLIP's text tower as a tower to train: sizes, tokens, gradients, and what is refused."""

import pytest
import torch

from openmofi.encoders.towers import image_preprocessing, rebuilt, stored_tokens, text_tokens, text_trunk
from openmofi.errors import UsageError
from openmofi.plugins.encoders.mobile_text import MobileText, MobileTextSettings

TEXTS = ["a photo of a crane", "", "words " * 100]
SMALL = MobileTextSettings(width=16, heads=2, layers=1, kernel=3, context=9, vocabulary=50)


def test_it_has_the_papers_size():
    with torch.device("meta"):
        tower = MobileText(MobileTextSettings())
    # 42.4 M in the paper, the projection of 512 × 512 among them.
    assert sum(one.numel() for one in tower.parameters()) + 512 * 512 == pytest.approx(42.4e6, rel=0.002)


def test_tokens_are_clips():
    import open_clip

    expected = open_clip.get_tokenizer("ViT-B-32")(TEXTS)
    assert torch.equal(text_tokens("mobile:mct")(TEXTS), expected)
    assert text_tokens("mobile:mct-tiny?context=8")(TEXTS).shape == (3, 8)


def test_rebuilt_and_read_at_the_end_token(tmp_path):
    trunk = text_trunk("mobile:mct-tiny?width=32&layers=2")
    assert trunk.dim == 32
    again = rebuilt(trunk.architecture)
    again.module.load_state_dict(trunk.module.state_dict())
    tokens = stored_tokens(trunk.architecture, tmp_path)(TEXTS)
    trunk.module.eval(), again.module.eval()
    with torch.no_grad():
        assert torch.equal(trunk.module(tokens), again.module(tokens))
        assert trunk.module(tokens).shape == (3, 32)


def test_a_text_hears_all_of_its_words():
    torch.manual_seed(0)
    tower = MobileText(SMALL).eval()
    tokens = torch.tensor([[47, 1, 2, 3, 49, 0, 0, 0, 0], [47, 9, 2, 3, 49, 0, 0, 0, 0]])
    with torch.no_grad():
        found = tower(tokens)
    assert not torch.allclose(found[0], found[1])


@pytest.mark.parametrize("checkpointing", [False, True])
def test_every_parameter_is_trained(checkpointing):
    torch.manual_seed(0)
    tower = MobileText(SMALL).train()
    tower.set_grad_checkpointing(checkpointing)
    tower(torch.randint(0, 50, (4, 9))).square().sum().backward()
    assert [name for name, one in tower.named_parameters() if one.grad is None or not one.grad.abs().sum()] == []


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("mobile:mctt", "Did you mean 'mct'"),
        ("mobile:mct?depth=3", "option 'depth=3'"),
        ("mobile:mct?layers=x", "layers=x"),
        ("mobile:mct?width=100", "cannot be cut into 8 heads"),
        ("mobile:mct?kernel=4", "must be odd"),
        ("mobile:mct?vocabulary=9", "vocabulary=9"),
        ("mobile:mct?width=0", "positive"),
    ],
)
def test_refused(spec, told):
    for call in (text_trunk, text_tokens):
        with pytest.raises(UsageError, match=told):
            call(spec)


def test_no_weights_and_no_images():
    with pytest.raises(UsageError, match="has no weights"):
        text_trunk("mobile:mct", pretrained="default")
    with pytest.raises(UsageError, match="Unknown tower 'mobile:mct'"):
        image_preprocessing("mobile:mct")


def test_the_image_tower_beside_it_takes_plain_pixels():
    found = image_preprocessing("timm:fastvit_mci0")
    assert (found.size, found.mean, found.std) == (256, (0.0,) * 3, (1.0,) * 3)
