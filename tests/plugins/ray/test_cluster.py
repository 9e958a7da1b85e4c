"""The Ray engine on a real cluster: three nodes, each with processes and resources of its own; one has a (fake) GPU."""

from __future__ import annotations

import faulthandler
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from cluster_jobs import Colours, Waits
from jobs import Factory, Unopenable
from test_engines import SQUARES, TASKS, Notes, tries

import openmofi
from openmofi import labeling
from openmofi.dataset import DatasetSettings, build_dataset
from openmofi.encoders import as_encoder
from openmofi.engine import engine_named
from openmofi.errors import OpenMofiError
from openmofi.knowledge import KnowledgeBase
from openmofi.plugins.ray import RayEngine
from openmofi.plugins.ray.actors import Actors
from openmofi.storage import expand_shards
from small_world import make_small_world

# One process of xdist does them all: there is one cluster.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]
ROOT = Path(__file__).parents[3]
STORE = 80 * 2**20
NODE = {"num_cpus": 1, "object_store_memory": STORE}


@pytest.fixture(scope="module")
def cluster():
    ray = pytest.importorskip("ray", reason="ray is an optional extra that is not installed here")
    from ray.cluster_utils import Cluster

    before = os.environ.get("PYTHONPATH")
    places = [
        *map(str, (ROOT / "src", ROOT / "tests", ROOT / "tests/engine", ROOT / "tests/plugins/ray")),
        *([before] if before else []),
    ]
    os.environ["PYTHONPATH"] = os.pathsep.join(places)  # of the nodes' processes
    cluster = Cluster(
        initialize_head=True,
        head_node_args={
            **NODE,
            "include_dashboard": False,
            # A node that is gone is noticed in five seconds, not fifteen; in two a busy one would be taken for gone.
            "_system_config": {
                "health_check_initial_delay_ms": 500,
                "health_check_period_ms": 500,
                "health_check_failure_threshold": 10,
            },
        },
    )
    cluster.plain = cluster.add_node(**NODE, wait=False)
    cluster.add_node(**NODE, num_gpus=1)
    ray.init(cluster.address, log_to_driver=False)
    yield cluster
    ray.shutdown()
    cluster.shutdown()
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before
    # Ray has taken the handlers of fatal signals and leaves none: a crash later in this process would have no trace.
    faulthandler.disable()
    faulthandler.enable(file=sys.__stderr__)


def replace_plain_node(cluster):
    """Kill the node that is neither the head nor has the GPU; another comes."""
    cluster.remove_node(cluster.plain, allow_graceful=False)
    cluster.plain = cluster.add_node(**NODE, wait=False)


class Watch(Notes):
    """Sees which worker does what."""

    def __init__(self):
        super().__init__()
        self.started, self.stages = [], []

    def begin(self, stage, total):
        self.stages.append(stage)

    def starts(self, worker, task):
        _, node, _, process = worker.split()
        self.started.append((node, int(process), task))

    def ends(self, worker):
        pass

    def fails(self, task, reason):
        pass


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_small_world(tmp_path_factory.mktemp("twelve-shards"), shards=12, pairs=30)


def job(world, out, engine, progress=None, hangs="", shards=None):
    encoder = as_encoder(Colours(hangs))
    if hangs:  # only now: the encoder was tried here
        Path(hangs).touch()
    return labeling.label(
        expand_shards([str(shards or world.shards)]),
        KnowledgeBase.open(world.kb),
        encoder,
        out,
        labeling.LabelSettings(),
        engine=engine,
        progress=progress,
    )


def digests(out: Path) -> dict[str, bytes]:
    # What a worker was writing when it was killed stays hidden beside the tables; the next command removes it.
    return {path.name: path.read_bytes() for path in sorted((out / "labels").iterdir()) if path.name[0] != "."}


@pytest.fixture(scope="module")
def local(world, tmp_path_factory) -> dict[str, bytes]:
    """The labels as one process makes them."""
    out = tmp_path_factory.mktemp("local") / "out"
    job(world, out, engine_named("local"))
    assert len(digests(out)) == 12
    return digests(out)


def test_ray_gives_the_same_results(cluster, tmp_path):
    notes = Notes()
    results = RayEngine().run(Factory("square", str(tmp_path)), TASKS, notes)
    assert [result["square"] for result in results] == SQUARES
    assert len(notes.advanced) == len(TASKS)


def test_ray_tries_tasks_of_dead_workers_again_and_keeps_our_errors(cluster, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    results = RayEngine().run(Factory("dies_once", str(tmp_path / "a")), TASKS[:4], Notes())
    assert [result["square"] for result in results] == SQUARES[:4]
    assert tries(tmp_path / "a") == dict.fromkeys(TASKS[:4], 2)
    with pytest.raises(OpenMofiError, match=r"^7 failed 3 times"):
        RayEngine().run(Factory("seven_always_dies", str(tmp_path / "b")), TASKS[6:9], Notes())


def test_ray_keeps_sentence_and_hint_of_our_errors(cluster, tmp_path):
    for kind, hint in (("no_knowledge_base", "Build it."), ("refuses", "Fetch it again.")):
        with pytest.raises(OpenMofiError) as caught:
            RayEngine().run(Factory(kind, str(tmp_path)), ["0"], Notes())
        assert caught.value.hint == hint
    with pytest.raises(KeyError):
        RayEngine().run(Factory("has_a_bug", str(tmp_path)), ["0"], Notes())


def test_ray_keeps_an_error_of_unpickling_the_factory(cluster):
    with pytest.raises(OpenMofiError, match="has changed"):
        RayEngine().run(Unopenable(), ["0"], Notes())


def test_labels_are_the_same_bytes_as_in_one_process(cluster, world, local, tmp_path):
    job(world, tmp_path / "out", RayEngine(cluster.address), watch := Watch())
    assert digests(tmp_path / "out") == local
    assert len({node for node, _, _ in watch.started}) == 3


def test_a_dataset_is_the_same_bytes_as_in_one_process(cluster, world, tmp_path):
    job(world, tmp_path / "labels", engine_named("local"))
    kb, watch = KnowledgeBase.open(world.kb), Watch()
    for name, engine in (("near", None), ("far", RayEngine(cluster.address))):
        build_dataset(
            tmp_path / "labels",
            tmp_path / name,
            DatasetSettings(2),
            kb=kb,
            engine=engine,
            progress=watch if engine else None,
        )
    near, far = (
        {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}
        for out in (tmp_path / "near", tmp_path / "far")
    )
    assert far == near
    assert len([name for name in far if name.startswith("images/")]) == 12
    assert watch.stages == ["collect", "write"]
    assert len(watch.started) >= 24


def test_actors_that_reserve_a_gpu_are_where_there_is_one(cluster, tmp_path):
    results = engine_named(f"ray:{cluster.address}?gpus=0.5&cpus=0.5").run(
        Factory("says_where", str(tmp_path)), TASKS, watch := Watch()
    )
    assert [result["square"] for result in results] == SQUARES
    assert len({result["node"] for result in results}) == 1
    assert len({process for _, process, _ in watch.started}) == 2
    assert {str(result["gpus"]) for result in results} == {"[0]"}
    with pytest.raises(OpenMofiError, match="No node of the Ray cluster has 1 CPUs and 2 GPUs"):
        RayEngine(gpus=2).run(Factory("says_where", str(tmp_path)), TASKS, Notes())


def test_a_node_that_goes_and_one_that_comes_amid_a_run(cluster, tmp_path):
    """From the tenth on tasks wait until four nodes have begun one: three, and one that comes for one of them."""

    class Moves(Watch):
        before = frozenset()

        def starts(self, worker, task):
            super().starts(worker, task)
            waiting = [started for started in self.started if started[2] >= 10]
            if len(waiting) == 3 and not self.before:
                self.before = {node for node, _, _ in self.started}
                while len(list(tmp_path.glob("go-*"))) < 3:  # a task that its worker never began would be no try
                    time.sleep(0.05)
                replace_plain_node(cluster)

    results = RayEngine().run(Waits(str(tmp_path / "go"), nodes=4), range(40), moves := Moves())
    assert [result["task"] for result in results] == list(range(40))
    assert len(moves.advanced) == 40
    assert len(moves.before) == 3
    assert {result["node"][:6] for result in results} - moves.before  # it may have the one task that was tried again
    assert len({process for _, process, _ in moves.started}) == 4
    (message,) = moves.said
    assert message.endswith("; trying again")


def test_a_task_that_its_worker_never_began_is_no_try(cluster, tmp_path):
    with RayEngine(cpus=1, gpus=1).session() as session:
        session.run(Factory("square", str(tmp_path)), TASKS[:1], watch := Watch())
        ((_, process, _),) = watch.started
        os.kill(process, signal.SIGKILL)
        while Path(f"/proc/{process}").exists():
            time.sleep(0.01)
        session.run(Factory("square", str(tmp_path)), TASKS[1:2], watch := Watch())
    assert (watch.said, len(watch.advanced)) == ([], 1)
    assert (tmp_path / "1").stat().st_size == 1


def test_a_worker_that_hangs_is_replaced(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr("openmofi.engine.loop.LATE_SECONDS", float("inf"))
    results = RayEngine(patience=2).run(Factory("hangs_once", str(tmp_path)), TASKS[:4], notes := Notes())
    assert [result["square"] for result in results] == SQUARES[:4]
    (message,) = notes.said
    assert message.startswith("2: its worker did nothing for ")


def test_a_node_of_another_version_is_refused_by_name(cluster, tmp_path, monkeypatch):
    (tmp_path / "openmofi").mkdir()
    (tmp_path / "openmofi/__init__.py").touch()
    (tmp_path / "openmofi/version.py").write_text('__version__ = "0.0.9"')
    other = cluster.add_node(**NODE, env_vars={"PYTHONPATH": str(tmp_path)}, wait=False)

    class Told(Watch):
        def say(self, message):
            super().say(message)
            (tmp_path / "go").touch()

    results = RayEngine().run(Waits(str(tmp_path / "go")), range(30), told := Told())
    cluster.remove_node(other, allow_graceful=False)
    assert [result["task"] for result in results] == list(range(30))
    (message,) = told.said
    assert message.endswith(f" runs OpenMOFI 0.0.9, the driver runs {openmofi.__version__}: it gets no tasks")
    assert message.split()[2] not in {node for node, _, _ in told.started}
    monkeypatch.setattr("openmofi.plugins.ray.actors.__version__", "0.0.8")
    with pytest.raises(OpenMofiError, match="can work for this job"):
        RayEngine().run(Waits(""), range(3), told)


class Chaos(Watch):
    """Kills ten workers at random, a task's at most once; amid that a node, and adds another."""

    def __init__(self, cluster):
        super().__init__()
        self.cluster, self.draw, self.killed, self.hit = cluster, random.Random(5), 0, set()
        self.timers, self.stage, self.moved = {}, "", False

    def begin(self, stage, total):
        self.stage = stage

    def starts(self, worker, task):
        super().starts(worker, task)
        task = self.stage, str(task)
        due = task not in self.hit and (self.stage == "judge" or self.draw.random() < 0.5)
        if due and self.killed + len(self.timers) < 10:
            self.hit.add(task)
            self.timers[worker] = threading.Timer(self.draw.uniform(0, 0.02), self._kill, [self.started[-1][1]])
            self.timers[worker].start()

    def _kill(self, process):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
            self.killed += 1

    def ends(self, worker):
        if timer := self.timers.pop(worker, None):
            timer.cancel()
            timer.join()

    def fails(self, task, reason):
        raise AssertionError(f"{task}: {reason}")

    def advance(self, counts):
        super().advance(counts)
        if self.stage == "link" and not self.moved:
            self.moved = True
            replace_plain_node(self.cluster)


def test_ten_workers_killed_and_a_node_lost_and_added_change_no_byte(cluster, world, local, tmp_path):
    job(world, tmp_path / "out", RayEngine(), chaos := Chaos(cluster))
    assert (chaos.killed, chaos.moved) == (10, True)
    assert digests(tmp_path / "out") == local


def test_a_poisoned_and_a_hanging_shard(cluster, world, tmp_path, monkeypatch):
    monkeypatch.setattr("openmofi.engine.loop.LATE_SECONDS", 1.0)
    pairs = shutil.copytree(world.shards, tmp_path / "pairs")
    poisoned = sorted(pairs.iterdir())[4]
    poisoned.write_bytes(poisoned.read_bytes()[:5000])
    notes = Notes()
    for out, engine, hangs in (("local", engine_named("local"), ""), ("ray", RayEngine(), str(tmp_path / "hangs"))):
        with pytest.raises(OpenMofiError, match=rf"1 of 12 shards could not be labelled .{poisoned.stem}"):
            job(world, tmp_path / out, engine, notes, hangs, shards=pairs)
    assert not (tmp_path / "hangs").exists()
    assert any(
        "takes long: an idle worker does it too" in message or "did not answer" in message for message in notes.said
    )
    assert digests(tmp_path / "ray") == digests(tmp_path / "local")
    assert len(digests(tmp_path / "ray")) == 11


def test_a_driver_that_was_killed_goes_on(cluster, world, local, tmp_path):
    out = tmp_path / "out"
    driver = subprocess.Popen(
        [sys.executable, "-m", "cluster_jobs", str(world.shards), str(world.kb), str(out), f"ray:{cluster.address}"]
    )
    while driver.poll() is None and len(list(out.glob("links/*/*.parquet"))) < 3:
        time.sleep(0.02)
    os.kill(driver.pid, signal.SIGKILL)
    assert driver.wait() == -signal.SIGKILL
    assert len(list(out.glob("labels/*.parquet"))) < 12
    job(world, out, RayEngine(), watch := Watch())
    assert digests(out) == local
    assert "read" not in watch.stages


def test_the_dashboards_address_is_said(monkeypatch):
    import ray

    class Context:
        dashboard_url = "10.0.0.1:8265"

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", lambda *given, **options: Context())
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.setattr(Actors, "begin", lambda self, *given: None)
    monkeypatch.setattr("openmofi.engine.loop.run_tasks", lambda *given: [])
    RayEngine().run(Waits(""), [1], notes := Notes())
    assert notes.said == ["Ray's dashboard: http://10.0.0.1:8265"]
