"""The examples in deploy/: what they say is what Kubernetes, Slurm, Ray and the command line take."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import typer
import yaml

from openmofi.cli.main import app
from openmofi.engine import engine_named
from openmofi.storage.shards import expand_braces
from openmofi.version import __version__
from terminal import PATIENCE

DEPLOY = Path(__file__).parents[2] / "deploy"
KUBERAY, SBATCH = DEPLOY / "kuberay.yaml", DEPLOY / "label.sbatch"
SLURM = {"head": "node1", "port": "6379"}


def commands(text: str) -> list[list[str]]:
    """The `openmofi …` commands of a script or a page, as a shell would split them."""
    lines = re.findall(r"^openmofi .*$|(?<=`)openmofi [^`]+(?=`)", text.replace("\\\n", " "), re.M)
    return [[re.sub(r"\$(\w+)", lambda name: SLURM[name[1]], word) for word in shlex.split(line)[1:]] for line in lines]


def parsed(arguments: list[str]) -> dict:
    """What the command line takes a command for: its parameters.

    Raises:
        Exception: it would be refused.
    """
    command = typer.main.get_command(app)
    context = command.make_context("openmofi", list(arguments))
    while hasattr(command, "resolve_command"):
        name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        context = command.make_context(name, list(rest), parent=context)
    return context.params


@pytest.fixture(scope="module")
def job() -> dict:
    (document,) = yaml.safe_load_all(KUBERAY.read_text())
    return document


def test_the_entrypoint_is_a_label_job_on_ray(job):
    (entry,) = commands(job["spec"]["entrypoint"])
    found = parsed(entry)
    assert engine_named(found["engine"]).gpus == 1
    assert len(expand_braces(found["pairs"][0])) == 10_000
    assert {Path(found[name]).parts[1] for name in ("out", "cache", "kb")} == {"shared"}


def test_the_cluster_has_what_the_job_asks_for(job):
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    (workers,) = cluster["workerGroupSpecs"]
    assert workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"]
    for group in (cluster["headGroupSpec"], workers):
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        assert container["image"].endswith(f":{__version__}")
        assert container["resources"]["limits"] == container["resources"]["requests"]
        assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
        mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"]: "/shared" for volume in pod["volumes"]}
        # Ray's parameters are strings: the operator writes them into a command.
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())


def test_the_script_is_one_that_bash_reads():
    assert subprocess.run(["bash", "-n", SBATCH], capture_output=True, text=True).stderr == ""
    assert SBATCH.read_text().startswith("#!/bin/bash\n")


def test_the_scripts_command_is_a_label_job_on_its_cluster():
    (label,) = commands(SBATCH.read_text())
    engine = engine_named(parsed(label)["engine"])
    assert (engine.address, engine.gpus) == ("node1:6379", 1)


def run_script(tmp_path, log, srun):
    for name, more in {"scontrol": "printf 'n1\\nn2\\nn3\\n'", "srun": srun, "openmofi": "", "sleep": ""}.items():
        (tmp_path / name).write_text(f'#!/bin/bash\necho "{name} $*" >> {log}\n{more}\n')
        (tmp_path / name).chmod(0o755)
    script = SBATCH.read_text().replace("source /shared/venv/bin/activate\n", "") + "\nwait\n"
    return subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env={
            "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
            "SLURM_JOB_ID": "7",
            "SLURM_JOB_NODELIST": "n[1-3]",
            "SLURM_JOB_NUM_NODES": "3",
            "SLURM_CPUS_PER_TASK": "64",
            "SLURM_GPUS_ON_NODE": "4",
        },
    )


def test_the_script_ends_where_ray_does_not_start(tmp_path):
    log = tmp_path / "log"
    done = run_script(tmp_path, log, '[[ "$*" != *status* ]]')
    assert done.returncode == 1
    assert "does not answer" in done.stderr
    assert "openmofi label" not in log.read_text()


def test_the_script_starts_ray_and_the_job_where_slurm_says(tmp_path):
    """With commands in place of Slurm's and Ray's that write down what they are asked."""
    log = tmp_path / "log"
    done = run_script(tmp_path, log, 'echo "$RAY_AUTH_MODE ${#RAY_AUTH_TOKEN} $SRUN_CPUS_PER_TASK" >> ' + f"{log}.set")
    assert (done.returncode, done.stderr) == (0, "")
    assert set(Path(f"{log}.set").read_text().splitlines()) == {"token 64 64"}
    asked = log.read_text().splitlines()
    (head,) = (line for line in asked if "ray start --head" in line)
    (others,) = (line for line in asked if "ray start --address" in line)
    assert "--nodelist=n1" in head
    assert "--port 20007" in head
    assert "--nodes=2" in others
    assert "--exclude=n1 ray start --address n1:20007 --num-cpus 64 --num-gpus 4" in others
    (label,) = (line for line in asked if line.startswith("openmofi label"))
    assert "ray:n1:20007?gpus=1" in label


def test_the_pages_commands_are_taken():
    found = commands((DEPLOY / "README.md").read_text())
    assert [command[:2] for command in found] == [["jobs", "status"], ["jobs", "retry"]]
    for command in found:
        assert str(parsed(command)["out"]) == "/shared/labels"


def test_a_command_that_the_parser_does_not_take_is_noticed():
    with pytest.raises(Exception, match="No such option"):
        parsed(["label", "a.tar", "--kb", "kb", "--encoder", "sample", "-o", "out", "--gpus", "1"])
