"""What the label job's tests and the commands' tests share: the small world, its encoder, its labels.

Each is made once a test run: the first of xdist's processes that needs it makes it, the others wait for it.
"""

import fcntl
import functools
import multiprocessing
import os
import shutil
import socketserver
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from object_store import ObjectStore, object_store, used

import openmofi
import unsynced  # noqa: F401
from forked import worker_context
from openmofi.plugins.encoders import backbones
from openmofi.storage import digests
from small_world import SmallWorld, make_small_world

pytest_plugins = ["suite"]

# A hundred tests open heads that stand on the same frozen networks, which take half a second to open.
backbones.open_backbones = functools.cache(backbones.open_backbones)

# What was just written is waited for before it is trusted: here for two ticks of Linux's clock, not five.
digests._CLOCK_TICK = 0.02

# Servers of tests end within 20 ms, not half a second, and send what they write at once: the body of an answer would
# wait 40 ms until the client acknowledges the headers.
socketserver.BaseServer.serve_forever.__defaults__ = (0.02,)
socketserver.StreamRequestHandler.disable_nagle_algorithm = True

# How long an example takes says something of the machine, not of the code. The suite takes the same examples each time,
# so that what passes passes again; `make fuzz` looks for others.
settings.register_profile("same", deadline=None, derandomize=True)
settings.register_profile("fuzz", deadline=None)
settings.load_profile("same")


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """The folder that `make` filled, in this process or in another of the same run."""
    base = factory.getbasetemp()
    root = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, done = root / name, root / f"{name}.done"
    with open(root / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            make(folder)
            done.touch()
    return folder


@pytest.fixture(scope="session")
def small_world(tmp_path_factory) -> SmallWorld:
    return SmallWorld.found(made_once(tmp_path_factory, "small-world", make_small_world))


@pytest.fixture(scope="session")
def small_encoder(small_world, tmp_path_factory) -> str:
    """An encoder trained on the small world's links, calibrated there; its spec."""
    from openmofi.engine import Quiet
    from openmofi.plugins.adapter.bags import HeadSettings
    from openmofi.storage import expand_shards
    from studies.world.encoder import train_sample_encoders

    def train(folder: Path) -> None:
        recipes = {"heads": HeadSettings(batch_size=64, epochs=30, dim=64)}
        train_sample_encoders(
            expand_shards([str(small_world.shards)]),
            small_world.kb,
            folder,
            cache=folder / "cache",
            progress=Quiet(),
            recipes=recipes,
        )

    return f"run:{made_once(tmp_path_factory, 'small-encoder', train) / 'heads'}"


@pytest.fixture(scope="session")
def labelled(small_world, small_encoder, tmp_path_factory) -> Path:
    """The small world's labels, with links and features beside them."""
    return made_once(
        tmp_path_factory,
        "labels",
        lambda folder: openmofi.label(
            small_world.shards, kb=small_world.kb, encoder=small_encoder, out=folder, progress=False
        ),
    )


@pytest.fixture(scope="session")
def store(small_world, small_encoder, labelled, tmp_path_factory) -> Path:
    """What the small encoder knows of the small world's labels: two augmentations of 64 pixels, two texts."""
    from openmofi.plugins.reinforcement import ReinforceSettings, TeacherSpec, reinforce
    from openmofi.storage import expand_shards

    settings = ReinforceSettings((TeacherSpec(small_encoder, 30.0),), augmentations=2, size=64)
    return made_once(
        tmp_path_factory,
        "store",
        lambda folder: reinforce(
            expand_shards([str(small_world.shards)]), labelled, folder, settings, kb=small_world.kb
        ),
    )


@pytest.fixture(scope="session")
def object_server() -> Iterator[tuple[ObjectStore, dict[str, str]]]:
    """An S3 server with the empty bucket `data`, and the environment variables by which libraries find it."""
    with object_store() as served:
        yield served


@pytest.fixture
def bucket(object_server, tmp_path, monkeypatch) -> Iterator[ObjectStore]:
    """Its bucket, empty, as what libraries find; nothing is in the cache."""
    with used(*object_server, tmp_path / "home", monkeypatch) as found:
        found.clear()
        yield found


@pytest.fixture
def forked_workers(monkeypatch) -> None:
    """Workers of the engine `processes` are forks, which need import nothing. Spawned ones: tests/engine."""
    usual, workers = multiprocessing.get_context, worker_context()
    monkeypatch.setattr(
        "openmofi.engine.engines.multiprocessing.get_context",
        lambda method=None: workers if method == "spawn" else usual(method),
    )


@pytest.fixture(scope="session")
def small_demo(tmp_path_factory) -> Path:
    """The demo of a world of 60 entities, up to its dataset. Tests that write into it are of the xdist group `demo`."""
    from openmofi.engine import Quiet
    from studies.world.demo import label_world
    from studies.world.world_settings import world_settings

    return made_once(
        tmp_path_factory, "small-demo", lambda folder: label_world(folder, Quiet(), settings=world_settings(None, 60))
    )


@pytest.fixture
def lent_demo(small_demo) -> Iterator[Path]:
    """The small demo for a test that goes on with it, of the xdist group `demo`; afterwards what it added is gone."""
    before = set(small_demo.iterdir())
    yield small_demo
    for path in set(small_demo.iterdir()) - before:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


@pytest.fixture(scope="session")
def sources() -> Path:
    """The sample world's packages, as they were fetched."""
    from openmofi.errors import OpenMofiError
    from studies.world.images.packages import fetch

    try:
        return fetch()
    except OpenMofiError as error:
        pytest.skip(f"the sample world's packages are not here: {error}")


@pytest.fixture(scope="session")
def kb_folder(tmp_path_factory):
    """A knowledge base of two meanings of each name."""
    from kb_tables import write_source

    from openmofi.knowledge import build_table

    folder = tmp_path_factory.mktemp("mentions")
    build_table(write_source(folder / "source"), folder / "kb")
    return folder / "kb"
