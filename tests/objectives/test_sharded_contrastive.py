"""The contrastive objective on 1, 2 and 3 processes (gloo): the same loss, and the same gradients after averaging."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch
from rank_processes import averaged, found_on_ranks, ranks, work_on_ranks
from torch.nn.functional import normalize

from openmofi.objectives.contrastive import POSITIVES, Contrastive
from openmofi.objectives.objective_settings import ContrastiveSettings

ROWS, DIM = 12, 5
OPEN_CLIP = {"infonce": ("local",), "sigmoid": ("bidir", "shift", "reduce", "gather")}
CASES = [(loss, rule, chunk) for loss in ("infonce", "sigmoid") for rule in POSITIVES for chunk in (0, 3)]
Found = dict[str, torch.Tensor]


def global_batch() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    labels = torch.randint(-3, 7, (ROWS, 3), generator=generator).clamp(min=-1)
    return {
        "inputs": torch.randn(ROWS, 2, 7, generator=generator),
        "labels": labels,
        "text_id": torch.randint(-2, 6, (ROWS,), generator=generator),
    }


def local_batch() -> dict[str, torch.Tensor]:
    world, rank = ranks()
    share = slice(rank * ROWS // world, (rank + 1) * ROWS // world)
    return {name: values[share] for name, values in global_batch().items()}


def open_clips_losses() -> ModuleType:
    """open_clip.loss without the rest of open_clip, which takes each process seconds to import."""
    package = importlib.util.find_spec("open_clip")
    spec = importlib.util.spec_from_file_location("loss", Path(package.submodule_search_locations[0]) / "loss.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def of_open_clip(losses: ModuleType, loss: str, way: str) -> Found:
    """The gradients that open_clip's own distributed losses have, beside ours."""
    world, rank = ranks()
    module = Contrastive(ContrastiveSettings(loss=loss, positives="none", scale=6.0, bias=-1.5))
    batch = local_batch()
    image, text = (normalize(batch["inputs"][:, side, :DIM], dim=1).requires_grad_() for side in (0, 1))
    inputs = [image, text, *module.parameters()]
    scale = module.log_scale.exp()
    if loss == "infonce":
        theirs = losses.ClipLoss(local_loss=True, gather_with_grad=True, rank=rank, world_size=world)(
            image, text, scale
        )
    else:
        theirs = losses.SigLipLoss(rank=rank, world_size=world, dist_impl=way)(image, text, scale, module.bias)
    expected = torch.autograd.grad(theirs, inputs)
    found = torch.autograd.grad(module({"image": image, "text": text}, batch).loss, inputs)
    return {"expected": torch.cat([g.flatten() for g in expected]), "found": torch.cat([g.flatten() for g in found])}


def one_case(case: tuple[str, str, int]) -> Found:
    """Loss, metrics and gradients as a trainer has them: the encoder's and the objective's averaged over the ranks."""
    loss, rule, chunk = case
    world, batch = ranks()[0], local_batch()
    encoder = torch.linspace(-1, 1, 2 * 7 * DIM).reshape(2, 7, DIM).requires_grad_()
    module = Contrastive(ContrastiveSettings(loss=loss, positives=rule, scale=6.0, bias=-1.5, chunk=chunk))
    image, text = (normalize(batch["inputs"][:, side] @ encoder[side], dim=1) for side in (0, 1))
    result = module({"image": image, "text": text}, batch)
    at_embeddings = torch.autograd.grad(result.loss, [image, text], retain_graph=True)
    result.loss.backward()
    gradients = averaged({"encoder": encoder.grad, **{name: value.grad for name, value in module.named_parameters()}})
    found = {"loss": result.loss.detach(), **result.metrics, **{f"grad/{name}": g for name, g in gradients.items()}}
    return {**found, "at_image": at_embeddings[0] / world, "at_text": at_embeddings[1] / world}


def all_cases(losses: ModuleType) -> tuple[list[Found], dict[tuple[str, str], Found]]:
    """What this rank finds in each case, and what open_clip finds."""
    return (
        [one_case(case) for case in CASES],
        {(loss, way): of_open_clip(losses, loss, way) for loss, ways in OPEN_CLIP.items() for way in ways},
    )


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict[int, list[tuple[list[Found], dict[tuple[str, str], Found]]]]:
    """World size → rank → `all_cases`."""
    return found_on_ranks(__file__, tmp_path_factory.mktemp("ranks"))


@pytest.mark.slow
@pytest.mark.parametrize("world", [2, 3])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_ranks_change_nothing(found, case, world):
    expected = one_case(case)
    each = [cases[CASES.index(case)] for cases, _ in found[world]]
    for one in each:
        assert one.keys() == expected.keys()
        for name in expected.keys() - {"at_image", "at_text"}:
            torch.testing.assert_close(
                one[name], expected[name], rtol=1e-5, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
            )
    for name in ("at_image", "at_text"):
        together = torch.cat([one[name] for one in each])
        torch.testing.assert_close(together, expected[name], rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("world", [2, 3])
@pytest.mark.parametrize(("loss", "way"), [(loss, way) for loss, ways in OPEN_CLIP.items() for way in ways])
def test_each_rank_has_open_clips_gradients(found, loss, way, world):
    for _, peers in found[world]:
        one = peers[loss, way]
        assert one["found"].abs().sum() > 0.1
        torch.testing.assert_close(one["found"], one["expected"], rtol=1e-5, atol=1e-5)


if __name__ == "__main__":
    # torch.distributed.nn takes the group that there is when it is imported: before the first, it takes the current.
    of_losses = open_clips_losses()
    work_on_ranks(lambda: all_cases(of_losses))
