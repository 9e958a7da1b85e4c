"""A device that is not there is refused in a sentence by every command that runs an encoder, before it reads a file."""

import pytest

from openmofi import encoders, export
from openmofi.cli.main import app
from openmofi.errors import UsageError

torch = pytest.importorskip("torch")

COMMANDS = [
    ["label", "nowhere.tar", "--kb", "nowhere", "--encoder", "run:nowhere", "-o", "out"],
    ["explain", "--image", "nowhere.png", "--text", "a crane", "--kb", "nowhere", "--encoder", "run:nowhere"],
    ["eval", "gpr1200", "--data", "nowhere", "--encoder", "run:nowhere"],
    ["reinforce", "nowhere.tar", "--labels", "nowhere", "--teachers", "run:nowhere:10", "-o", "out"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_gpu_that_is_not_there_is_refused_before_any_work(monkeypatch, tmp_path, command):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UsageError, match=r"no device 'cuda:7': this machine has cuda:0 to cuda:1") as refused:
        app([*command, "--device", "cuda:7"], standalone_mode=False)
    assert refused.value.exit_code == 2
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_an_unknown_precision_is_refused_before_any_work(monkeypatch, tmp_path, command):
    monkeypatch.chdir(tmp_path)
    option = "--teacher-precision" if command[0] == "reinforce" else "--precision"
    with pytest.raises(UsageError, match="unknown value 'fp8' for precision; use fp32, bf16, fp16"):
        app([*command, option, "fp8"], standalone_mode=False)
    assert not list(tmp_path.iterdir())


def test_an_export_is_made_on_the_cpu_wherever_the_encoder_runs(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    placed = []

    class Opened(Exception):
        pass

    def opened(spec, *, device="auto", precision="fp32"):
        placed.append(device)
        raise Opened

    monkeypatch.setattr(encoders, "open_encoder", opened)
    with pytest.raises(Opened):
        export("run:nowhere", tmp_path / "out")
    with pytest.raises(Opened):
        app(["export", "run:nowhere", "-o", str(tmp_path / "out")], standalone_mode=False)
    assert placed == ["cpu", "cpu"]
