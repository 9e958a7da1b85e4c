import torch
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from openmofi.training.model import Ema


def model(seed=0):
    torch.manual_seed(seed)
    made = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    made[2].bias.requires_grad_(False)
    return made


def step(made, seed):
    draw = torch.Generator().manual_seed(seed)
    made(torch.randn(8, 3, generator=draw))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += torch.randn(parameter.shape, generator=draw) * parameter.requires_grad


@settings(max_examples=20, deadline=None)
@given(decay=st.floats(0, 1), steps=st.integers(0, 30))
def test_the_naive_formula(decay, steps):
    made = model()
    ema, expected = Ema(made, decay), {name: value.detach().double() for name, value in made.named_parameters()}
    for count in range(steps):
        step(made, count)
        ema.update(made)
        now = min(decay, (1 + count) / (10 + count))
        expected = {
            name: now * expected[name] + (1 - now) * value.detach().double() for name, value in made.named_parameters()
        }
    other = model(1)
    other[2].bias.data.copy_(made[2].bias)
    other.load_state_dict(other.state_dict() | ema.averaged())
    for name, value in other.named_parameters():
        assert torch.allclose(value.double(), expected[name], atol=1e-5)
    for name, value in other.named_buffers():
        assert torch.equal(value, dict(made.named_buffers())[name])


def test_stopped_and_resumed_is_the_same_to_the_bit():
    made, whole = model(), None
    whole = Ema(made, 0.8)
    for count in range(6):
        if count == 3:
            saved = {name: value.clone() for name, value in whole.state_dict().items()}
            resumed = Ema(model(5), 0.8)
            resumed.load_state_dict(saved)
        step(made, count)
        whole.update(made)
        if count >= 3:
            resumed.update(made)
    assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in whole.state_dict().items())
    assert "weights.2.bias" not in saved  # frozen


def test_the_average_of_sharded_parameters(tmp_path):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import DTensor

    plain, sharded = model(), model()
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'rendezvous'}", rank=0, world_size=1)
    try:
        mesh = init_device_mesh("cpu", (1,))
        fully_shard(sharded, mesh=mesh)
        emas = [Ema(made, 0.5) for made in (plain, sharded)]
        for count in range(3):
            step(plain, count)
            with torch.no_grad():
                for (_, source), (_, target) in zip(plain.named_parameters(), sharded.named_parameters(), strict=True):
                    target.to_local().copy_(source)
            for ema, made in zip(emas, (plain, sharded), strict=True):
                ema.update(made)
        state = emas[1].state_dict()
        assert isinstance(state["weights.0.weight"], DTensor)
        for name, value in emas[0].state_dict().items():
            if name.startswith("weights."):
                assert torch.equal(state[name].full_tensor(), value)
        assert torch.equal(emas[1].averaged()["0.weight"].full_tensor(), emas[0].state_dict()["weights.0.weight"])
    finally:
        dist.destroy_process_group()
