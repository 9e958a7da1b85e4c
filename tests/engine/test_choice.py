"""Engines by name, and what `auto` chooses."""

import sys
from types import ModuleType

import pytest
from test_engines import Notes

from openmofi.engine import Job, LocalEngine, engine_named
from openmofi.engine import protocol as machine
from openmofi.engine.engines import AutoEngine, ProcessEngine
from openmofi.errors import UsageError
from openmofi.plugins.ray import RayEngine
from openmofi.plugins.ray.actors import Reserved


def test_names_of_engines():
    assert isinstance(engine_named("auto"), AutoEngine)
    assert isinstance(engine_named("local"), LocalEngine)
    assert engine_named("processes:3").workers == 3
    assert engine_named("processes").workers == machine.cores()
    for wrong in ("threads", "local:2", "processes:many", "", "auto:2", "rays", "raycluster:1"):
        with pytest.raises(UsageError, match="Unknown engine"):
            engine_named(wrong)


@pytest.mark.parametrize(
    ("spec", "address", "gpus", "cpus"),
    [
        ("ray", None, None, None),
        ("ray:auto", "auto", None, None),
        ("ray:10.0.0.1:6379", "10.0.0.1:6379", None, None),
        ("ray://head:10001", "ray://head:10001", None, None),
        ("ray:ray://head:10001", "ray://head:10001", None, None),
        ("ray?gpus=0.5", None, 0.5, None),
        ("ray:head:6379?gpus=0.5&cpus=2", "head:6379", 0.5, 2),
        ("ray://head:10001?cpus=4", "ray://head:10001", None, 4),
        ("ray?gpus=0", None, 0, None),
    ],
)
def test_rays_address_and_what_an_actor_reserves(spec, address, gpus, cpus):
    engine = engine_named(spec)
    assert (engine.address, engine.gpus, engine.cpus) == (address, gpus, cpus)


@pytest.mark.parametrize(
    "spec",
    [
        "ray?",
        "ray?gpu=1",
        "ray?gpus=1&gpus=2",
        "ray?gpus=",
        "ray?gpus=-1",
        "ray?gpus=1.5",
        "ray?cpus=0",
        "ray?cpus=nan",
        "ray?cpus=inf",
        "ray:head?cpus=many",
    ],
)
def test_wrong_options_of_ray_are_a_sentence(spec):
    with pytest.raises(UsageError, match=r"^The engine .* (asks for|has an option)") as caught:
        engine_named(spec)
    assert "ray?" in caught.value.hint


@pytest.mark.parametrize(
    ("reserved", "resources", "expected"),
    [
        (Reserved(), {"CPU": 4}, (4, 1)),
        (Reserved(2), {"CPU": 5, "GPU": 1}, (2, 2)),
        (Reserved(0.5), {"CPU": 1}, (2, 0.5)),
        (Reserved(), {"memory": 1}, (0, 1)),
        (Reserved(gpus=1), {"CPU": 96, "GPU": 8}, (8, 12)),
        (Reserved(gpus=0.5), {"CPU": 6, "GPU": 1}, (2, 3)),
        (Reserved(gpus=1), {"CPU": 4}, (0, 1)),
        (Reserved(gpus=0.1), {"CPU": 4, "GPU": 1}, (4, 1)),
        (Reserved(2, 1), {"CPU": 2, "GPU": 4}, (1, 2)),
        (Reserved(gpus=2), {"CPU": 8, "GPU": 3}, (1, 8)),
    ],
)
def test_how_many_actors_a_node_has_room_for(reserved, resources, expected):
    assert reserved.on(resources) == expected


def test_actors_ask_for_a_gpu_where_the_job_computes_on_one():
    gpu, cpu = Job("cuda:1", lambda _: 0), Job("cpu", lambda _: 0)
    assert [RayEngine().suited(job, Notes()).gpus for job in (gpu, cpu)] == [1, 0]
    assert [RayEngine(gpus=0.25).suited(job, Notes()).gpus for job in (gpu, cpu)] == [0.25, 0.25]


@pytest.mark.parametrize(
    ("device", "pairs", "cores", "address", "expected", "why"),
    [
        ("cpu", 10**6, 4, "", ProcessEngine, "processes:4"),
        ("cuda:0", 10**6, 4, "", LocalEngine, "on cuda:0"),
        ("cpu", 10**6, 1, "", LocalEngine, "one core"),
        ("cpu", 4999, 4, "", LocalEngine, "4,999 pairs; other processes pay from 5,000 on"),
        ("cpu", 0, 4, "", LocalEngine, "local: 0 pairs; other"),
        ("cpu", 10, 4, "head:6379", RayEngine, "head:6379"),
    ],
)
def test_auto_chooses_by_the_job_and_says_so(device, pairs, cores, address, expected, why, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", str(cores))
    monkeypatch.setenv("RAY_ADDRESS", address)
    notes = Notes()
    engine = engine_named("auto").suited(Job(device, lambda most: min(pairs, most)), notes)
    assert type(engine) is expected
    (message,) = notes.said
    assert message.startswith("engine ")
    assert why in message
    assert getattr(engine, "address", address) == address


@pytest.mark.parametrize(
    ("script", "carried", "why"),
    [
        ("import openmofi\nopenmofi.label()", None, "run this script again"),
        ("if __name__ == '__main__':\n    openmofi.label()", None, ""),
        ("__name__", lambda: 0, "cannot be sent"),
        (None, None, ""),
        (None, "__main__", "is defined here"),
    ],
)
def test_auto_stays_here_where_processes_cannot_help(script, carried, why, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    main = ModuleType("__main__")
    if script is not None:
        main.__file__ = str(tmp_path / "script.py")
        (tmp_path / "script.py").write_text(script)
    monkeypatch.setitem(sys.modules, "__main__", main)
    notes = Notes()
    engine = engine_named("auto").suited(Job("cpu", lambda most: most, carried), notes)
    assert isinstance(engine, LocalEngine if why else ProcessEngine)
    assert why in notes.said[0]


def test_few_pairs_are_not_worth_other_processes():
    notes = Notes()
    few, many = (Job("cpu", lambda most, pairs=pairs: min(pairs, most)) for pairs in (10, 10**6))
    assert isinstance(ProcessEngine(2).suited(few, notes), LocalEngine)
    assert notes.said == ["10 pairs are done in this process: other processes pay from 5,000 on."]
    assert ProcessEngine(2).suited(many, notes).workers == 2


def test_light_work_pays_later():
    notes = Notes()
    for pairs, workers in ((499_999, 0), (500_000, 2)):
        job = Job("cpu", lambda most, pairs=pairs: min(pairs, most), light=100)
        assert getattr(ProcessEngine(2).suited(job, notes), "workers", 0) == workers
    assert notes.said == ["499,999 pairs are done in this process: other processes pay from 500,000 on."]
