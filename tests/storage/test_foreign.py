"""Under the guard no code of others runs, by whatever way a library gets there; outside of it all is as before."""

import contextlib
import importlib
import importlib.util
import json
import pickle
import py_compile
import socket
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import openmofi
from openmofi.errors import OpenMofiError
from openmofi.storage.foreign import _is_installed, guarded, network_allowed

MODULE = "outside_of_all_packages"


@pytest.fixture
def evil(tmp_path):
    (tmp_path / f"{MODULE}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').write('ran')\n")
    return tmp_path


def by_path(file):
    spec = importlib.util.spec_from_file_location(MODULE, file)
    spec.loader.exec_module(importlib.util.module_from_spec(spec))


def by_name(folder):
    sys.path.insert(0, str(folder))
    try:
        importlib.import_module(MODULE)
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop(MODULE, None)


def by_bytecode(folder):
    # Compiled as if it were a file of the standard library.
    py_compile.compile(folder / f"{MODULE}.py", folder / "bytes.pyc", dfile=json.__file__)
    by_path(folder / "bytes.pyc")


@pytest.mark.parametrize(
    "way", [lambda folder: by_path(folder / f"{MODULE}.py"), by_name, by_bytecode], ids=["path", "name", "bytecode"]
)
def test_python_outside_of_the_packages_does_not_run(evil, way):
    with pytest.raises(OpenMofiError, match=r"The model asks to run .*, which is refused"), guarded("The model"):
        way(evil)
    assert not (evil / "ran").exists()
    way(evil)
    assert (evil / "ran").exists()


def test_a_refusal_that_a_library_turns_into_its_own_is_ours_again(evil):
    @guarded("The model")
    def load():
        try:
            by_path(evil / f"{MODULE}.py")
        except OpenMofiError as error:
            raise ValueError("the library's own words") from error

    with pytest.raises(OpenMofiError, match="asks to run"):
        load()
    # What a library survives has run nothing.
    with guarded("The model"), contextlib.suppress(OpenMofiError):
        by_path(evil / f"{MODULE}.py")
    assert not (evil / "ran").exists()


def test_packages_are_imported_as_ever():
    names = ("colorsys", "openmofi.storage.addresses", "yaml")
    before = {name: sys.modules.pop(name, None) for name in names}
    try:
        with guarded("The model"):
            assert all(importlib.import_module(name) for name in names)
    finally:
        sys.modules.update({name: module for name, module in before.items() if module is not None})


class Calls:
    def __reduce__(self):
        return print, ("unpickled",)


def test_nothing_is_unpickled(tmp_path):
    torch = pytest.importorskip("torch")
    np.save(tmp_path / "a.npy", np.array([Calls()], object), allow_pickle=True)
    torch.save({"a": torch.ones(2)}, tmp_path / "a.pt")
    torch.save({"a": Calls()}, tmp_path / "b.pt")
    data = pickle.dumps(Calls())
    for load in (
        lambda: pickle.loads(data),
        lambda: np.load(tmp_path / "a.npy", allow_pickle=True),
        lambda: torch.load(tmp_path / "a.pt", weights_only=False),
        lambda: torch.load(tmp_path / "b.pt", weights_only=False),
    ):
        with pytest.raises(OpenMofiError, match="asks to unpickle"), guarded("The model"):
            load()
    with guarded("The model"):
        assert torch.load(tmp_path / "a.pt", weights_only=True)["a"].tolist() == [1, 1]
        assert pickle.loads(pickle.dumps({"plain": [1, 2.5, "x"]})) == {"plain": [1, 2.5, "x"]}


def test_transformers_asks_for_no_code_even_by_names_that_were_imported_before(evil):
    pytest.importorskip("transformers")
    from transformers.dynamic_module_utils import get_class_from_dynamic_module, resolve_trust_remote_code

    with pytest.raises(OpenMofiError, match="asks to run"), guarded("The model"):
        get_class_from_dynamic_module(f"{MODULE}.Evil", str(evil))
    with pytest.raises(OpenMofiError, match="asks for permission to run its code"), guarded("The model"):
        resolve_trust_remote_code(None, str(evil), has_local_code=False, has_remote_code=True)
    assert not (evil / "ran").exists()


def test_nothing_is_fetched_but_by_our_own_hand():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        with pytest.raises(OpenMofiError, match=r"asks to fetch from 127\.0\.0\.1"), guarded("The model"):
            socket.create_connection(address, timeout=5)
        with guarded("The model"), network_allowed():
            socket.create_connection(address, timeout=5).close()
        with guarded("The model"), network_allowed(), pytest.raises(OpenMofiError, match="asks to unpickle"):
            pickle.loads(pickle.dumps(Calls()))
        socket.create_connection(address, timeout=5).close()


def test_other_threads_are_not_concerned():
    data, loaded = pickle.dumps(Calls()), []
    thread = threading.Thread(target=lambda: loaded.append(pickle.loads(data)))
    with guarded("The model"):
        thread.start()
        thread.join()
    assert loaded == [None]


def test_a_checkout_that_is_installed_editable_is_its_packages_alone():
    assert _is_installed(str(Path(openmofi.__file__).with_name("later.py")))
    assert not _is_installed(str(Path(openmofi.__file__).parents[2] / "downloads" / "model" / "modeling.py"))
