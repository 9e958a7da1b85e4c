"""Leaving cleanly: signals here, and a real `openmofi train` that is interrupted."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
import torch

from forked import Fork
from openmofi.config.recipes import recipe_yaml
from openmofi.training.distributed import stop_requested, training_process
from terminal import command

from .small_runs import losses


def test_a_run_leaves_the_precision_of_the_process_as_it_was():
    before = torch.get_float32_matmul_precision()
    with training_process(0, tf32=True) as ranks:
        inside = torch.get_float32_matmul_precision()
        assert inside == ("high" if ranks.device.type == "cuda" else before)
    assert torch.get_float32_matmul_precision() == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_noted_and_the_second_ends(number):
    before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    with stop_requested() as asked:
        assert not asked()
        signal.raise_signal(number)
        assert asked()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == before


def test_other_threads_leave_signals_alone():
    found = []

    def inside():
        with stop_requested() as asked:
            found.extend((asked(), signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert found == [False, signal.getsignal(signal.SIGINT)]


def hear_ctrl_c():
    """Shells start background commands, a test run among them, deaf to it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def started(make, folder, workers, **run):
    recipe = make(
        "exact",
        image={"spec": "timm:test_vit"},
        data={"workers": workers},
        run={"steps": 5000, "checkpoint_every": 4000} | run,
    )
    (folder / "recipe.yaml").write_text(recipe_yaml(recipe))
    arguments = ("train", folder / "recipe.yaml", "-o", folder / "run")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    if workers:
        # As a fork of the tests' server it would have that server's workers, of another group.
        child = subprocess.Popen(
            command(*arguments),
            text=True,
            start_new_session=True,
            preexec_fn=hear_ctrl_c,
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
    else:
        child = Fork("openmofi", *arguments, new_session=True, env=environment)
    while not (folder / "run/log.jsonl").is_file() or len(losses(folder / "run")) < 3:
        assert child.poll() is None, child.communicate()
        time.sleep(0.05)
    return child


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "number"), [(0, signal.SIGINT), (2, signal.SIGINT), (2, signal.SIGTERM)])
def test_a_signal_writes_a_checkpoint_and_says_how_to_go_on(make, tmp_path, workers, number):
    child = started(make, tmp_path, workers)
    # A terminal, and a scheduler, send it to every process of the group, the workers too.
    os.killpg(child.pid, number)
    out, told = child.communicate()
    assert child.returncode == 130
    assert out == ""
    assert told.splitlines()[-1].startswith("interrupted: ")
    assert "--resume" in told.splitlines()[-1]
    assert "Traceback" not in told
    assert "Error" not in told
    step = max(losses(tmp_path / "run"))
    assert [path.name for path in (tmp_path / "run/checkpoints").glob("step-*")] == [f"step-{step:08d}"]


@pytest.mark.slow
def test_a_second_ctrl_c_ends_at_once(make, tmp_path):
    child = started(make, tmp_path, 0)
    # Stopped, so that both signals are there before it comes to its next step.
    for number in (signal.SIGSTOP, signal.SIGINT, signal.SIGTERM, signal.SIGCONT):
        os.kill(child.pid, number)
    _, told = child.communicate()
    assert child.returncode == 130
    assert "Traceback" not in told
    assert not list((tmp_path / "run").glob("checkpoints/step-*"))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the pipe's end tells that no process is left")
def test_workers_end_with_a_trainer_that_is_killed(make, tmp_path):
    child = started(make, tmp_path, 2)
    child.kill()
    # The pipe ends when nobody has it open: neither the workers nor the server that forked them.
    child.communicate()
    assert child.returncode == -signal.SIGKILL
