"""Two processes that build a dataset in one folder at the same instant: one of them does, whole and alone.

OPENMOFI_RACES sets the number of tries: the suite runs 20; `OPENMOFI_RACES=200 pytest tests/dataset/test_race.py`.
"""

from __future__ import annotations

import os
import shutil

import pytest

from forked import forks
from openmofi.dataset import DatasetSettings, build_dataset
from openmofi.errors import OpenMofiError

TRIES = int(os.environ.get("OPENMOFI_RACES", "20"))


def build(labels, out, min_images):
    build_dataset(labels, out, DatasetSettings(min_images=min_images), report=False)


def contender(labels, barrier, connection):
    while task := connection.recv():
        barrier.wait()
        try:
            build(labels, *task)
            connection.send("")
        except OpenMofiError as error:
            connection.send(str(error))


@pytest.fixture(scope="module")
def contenders(world):
    context = forks()
    barrier = context.Barrier(2)
    pipes = [context.Pipe() for _ in range(2)]
    processes = [context.Process(target=contender, args=(world.labels, barrier, theirs)) for _, theirs in pipes]
    for process in processes:
        process.start()
    yield [ours for ours, _ in pipes]
    for (ours, _), process in zip(pipes, processes, strict=True):
        ours.send(None)
        process.join()


def race(contenders, out, settings):
    for connection, min_images in zip(contenders, settings, strict=True):
        connection.send((out, min_images))
    return [connection.recv() for connection in contenders]


def tree(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("settings", [(2, 5), (3, 3)], ids=["other settings", "equal settings"])
def test_none_is_mixed(world, contenders, tmp_path, settings):
    expected = {}
    for min_images in set(settings):
        build(world.labels, tmp_path / "out", min_images)
        expected[min_images] = tree(tmp_path / "out")
        shutil.rmtree(tmp_path / "out")
    for _ in range(TRIES):
        errors = race(contenders, tmp_path / "out", settings)
        winners = [min_images for min_images, error in zip(settings, errors, strict=True) if not error]
        assert len(winners) == (2 if len(set(settings)) == 1 else 1), errors
        assert tree(tmp_path / "out") == expected[winners[0]]
        for error in filter(None, errors):
            assert "with other settings (min_images: " in error
        shutil.rmtree(tmp_path / "out")
