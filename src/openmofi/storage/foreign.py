"""Stops libraries from running code, or fetching anything, because a file that others made asks for it.

A library that opens a model may import Python beside it (`auto_map` of transformers), unpickle (`torch.load`), ask the
terminal for permission, or fetch what the model's configuration names. Inside `guarded` each of these raises, however
the library gets there: Python's own audit events (https://docs.python.org/3/library/audit_events.html) are watched,
which no reference that a library holds to a function of its own can go around. Imports of installed packages go on.

What is watched is this thread, and callbacks that it schedules. Code in an engine's native library is not seen, nor
threads that a library starts: none of ours reads a model's files in one (a hook watched 17 kinds of spec).
"""

import functools
import json
import os
import site
import sys
import sysconfig
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from types import CodeType
from typing import Any

from openmofi.errors import OpenMofiError
from openmofi.storage.typed_json import as_type, read_json


def allowed_options(section: str, options: Any, where: str) -> dict[str, Any]:
    """Return the options of a file that may reach a library, without those that the table ignores.

    Args:
        section: of `foreign_options.toml`.
        options: what the file says.
        where: the file, and the part of it that holds the options.

    Raises:
        OpenMofiError: an option is not in the table, or these are no options at all; names file and option.
    """
    if not isinstance(options, Mapping):
        raise OpenMofiError(f"{where} holds no options, but {str(options)[:80]!r}.", "Copy the file again.")
    passed, ignored = option_table()[section]
    unknown = next((str(name) for name in options if name not in passed and name not in ignored), None)
    if unknown is not None:
        raise OpenMofiError(
            f"{where} sets {unknown[:80]!r}, which no file of others may set.",
            "Take the option out, if the model does without it; its code or its files are never run "
            "or fetched because a file says so.",
        )
    return {name: value for name, value in options.items() if name in passed}


@cache
def option_table() -> dict[str, tuple[frozenset[str], frozenset[str]]]:
    """Read `foreign_options.toml`: in each section the options that are passed, and those that are ignored."""
    text = Path(__file__).with_name("foreign_options.toml").read_text("utf-8")
    return {
        name: (frozenset(entry["passed"]), frozenset(entry.get("ignored", ())))
        for name, entry in tomllib.loads(text).items()
    }


def require_inside(folder: Path) -> None:
    """Refuse a folder with a link that leads out of it.

    What is read would be a file of the user's that the folder's maker chose, and travels on with copies and exports.
    The hub's cache consists of links to the blobs beside its snapshots, which belong to the repository.

    Raises:
        OpenMofiError: there is such a link.
    """
    root = (folder.parent.parent if folder.parent.name == "snapshots" else folder).resolve()
    for parent, folders, files in os.walk(folder):
        for path in (Path(parent, name) for name in (*folders, *files)):
            if path.is_symlink() and not (target := path.resolve()).is_relative_to(root):
                raise OpenMofiError(
                    f"{path} is a link out of its folder, to {target}.",
                    "Put a copy in its place, if the file belongs there.",
                )


_HINT = (
    "OpenMOFI runs no code of others' files. Use a model that needs none, or open it by code of your own where "
    "you trust it, and give that."
)
_OFFLINE_HINT = (
    "Where you trust it, name it yourself (--encoder), or fetch it, and put it beside the model or into "
    "the hub's cache."
)


class _Guard:
    """What is being opened, and the first thing that was refused to it."""

    def __init__(self, what: str, spec: str, *, offline: bool = True, nested: bool = False) -> None:
        self.what, self.spec, self.offline, self.nested = what, spec, offline, nested
        self.refusal: OpenMofiError | None = None

    def refuse(self, request: str, hint: str = _HINT) -> OpenMofiError:
        error = OpenMofiError(f"{self.what} asks {request}, which is refused.", hint)
        self.refusal = self.refusal or error
        return error


_GUARD: ContextVar[_Guard | None] = ContextVar("openmofi_guard", default=None)


@contextmanager
def guarded(what: str, spec: str = "") -> Iterator[None]:
    """Refuse, within the block, any Python outside of installed packages, unpickling, and fetching.

    Fetching fails as it does without a network, so that a library takes what is in its cache. `weights_only` reading of
    PyTorch goes on, since it unpickles by itself and calls nothing.

    Args:
        what: is opened; begins the error's sentence, such as `The encoder 'hf:FOLDER'`.
        spec: by which the user named it, if it has one; see `spec_in_opening`.

    Raises:
        OpenMofiError: something that was refused ended the block; names what was asked for.
    """
    _install()
    outer = _GUARD.get()
    guard = _Guard(what, outer.spec if outer else spec, nested=outer is not None)
    token = _GUARD.set(guard)
    try:
        yield
    except OpenMofiError:
        raise
    except Exception as error:
        # Libraries turn the refusal into exceptions of their own.
        if guard.refusal is None:
            raise
        raise guard.refusal from error
    finally:
        _GUARD.reset(token)


@contextmanager
def network_allowed() -> Iterator[None]:
    """Inside `guarded`, let our own code fetch what the user named; code and pickles stay refused.

    Raises:
        OpenMofiError: inside of a second `guarded`: what is opened there is named by a file of the first.
    """
    guard = _GUARD.get()
    if guard is None:
        yield
        return
    if guard.nested:
        raise guard.refuse("to be fetched because a file names it", _OFFLINE_HINT)
    online = _Guard(guard.what, guard.spec, offline=False)
    token = _GUARD.set(online)
    try:
        yield
    finally:
        _GUARD.reset(token)
        guard.refusal = guard.refusal or online.refusal


def spec_in_opening() -> str:
    """Return the spec of what is being opened; of the outermost where one thing opens another, `""` for none."""
    guard = _GUARD.get()
    return guard.spec if guard else ""


@functools.cache
def _install() -> None:
    """Watch this process; a hook cannot be removed, and outside of `guarded` it does nothing."""
    checks, current = _CHECKS, _GUARD
    _roots()  # which imports by itself, and so is not to be asked first by a check of an import

    # Bound here: at the interpreter's end, when a module's names are gone, hooks are still called.
    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        check = checks.get(event)
        if check is not None and (guard := current.get()) is not None:
            check(guard, *arguments)

    sys.addaudithook(audit)


def _check_code(guard: _Guard, code: CodeType, *_: Any) -> None:
    if not code.co_filename.startswith("<") and not _is_installed(code.co_filename):
        raise guard.refuse(f"to run {code.co_filename}")


def _check_library(guard: _Guard, module: str, file: str | None, *_: Any) -> None:
    # Modules in Python are checked when their code is run.
    if file is not None and not _is_installed(file):
        raise guard.refuse(f"to load {file} as the module {module}")


def _check_bytecode(guard: _Guard, file: Any, *_: Any) -> None:
    # Bytecode without its source says itself which file it is of.
    if isinstance(file, str) and file.endswith(".pyc") and not _is_installed(file):
        raise guard.refuse(f"to run {file}")


def _check_pickle(guard: _Guard, module: str, name: str) -> None:
    raise guard.refuse(f"to unpickle {module}.{name}")


def _check_prompt(guard: _Guard, *_: Any) -> None:
    raise guard.refuse("for permission to run its code")


def _check_network(guard: _Guard, _: Any, address: Any = None, *__: Any) -> None:
    if guard.offline and not isinstance(address, str | bytes):
        host = address[0] if isinstance(address, tuple) and address else "the network"
        error = guard.refuse(f"to fetch from {host}", _OFFLINE_HINT)
        raise ConnectionRefusedError(error.message)


def _check_lookup(guard: _Guard, host: Any, *_: Any) -> None:
    if guard.offline:
        raise ConnectionRefusedError(guard.refuse(f"to fetch from {host}", _OFFLINE_HINT).message)


_CHECKS: dict[str, Callable[..., None]] = {
    "exec": _check_code,
    "import": _check_library,
    "open": _check_bytecode,
    "pickle.find_class": _check_pickle,
    "builtins.input": _check_prompt,
    "socket.connect": _check_network,
    "socket.getaddrinfo": _check_lookup,
    "socket.gethostbyname": _check_lookup,
}


def _is_installed(file: str) -> bool:
    if file.startswith(_roots()) and ".." not in file:
        return True
    return str(Path(file).resolve()).startswith((*_roots(), *_editable()))


@functools.cache
def _roots() -> tuple[str, ...]:
    """Return the folders of installed Python: the interpreter's, and those on `sys.path` from the start.

    The working directory and the folder of the script that runs are not among them: a stranger's files may lie there.
    """
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    # transformers copies the Python of models into its folder, and puts that on the path.
    copies = getattr(sys.modules.get("transformers.utils.hub"), "HF_MODULES_CACHE", None)
    excluded = [
        Path().resolve(),
        Path(script).resolve().parent if script else None,
        Path(copies).resolve() if copies else None,
    ]
    installed = [
        *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
        *site.getsitepackages(),
        site.getusersitepackages(),
        str(Path(__file__).parents[2]),
        sys.pycache_prefix,
    ]
    return _ended(
        [
            *(folder for folder in installed if folder),
            *(entry for entry in _PATH_AT_START if Path(entry).resolve() not in excluded),
        ]
    )


@functools.cache
def _editable() -> tuple[str, ...]:
    """Return the packages that setuptools installed editable, by its own finder; others are on `sys.path`."""
    modules = (sys.modules.get(getattr(finder, "__module__", "")) for finder in sys.meta_path)
    return _ended([str(folder) for module in modules for folder in getattr(module, "MAPPING", {}).values()])


def _ended(folders: list[str]) -> tuple[str, ...]:
    whole = {str(path) for folder in folders for path in (Path(folder).absolute(), Path(folder).resolve())}
    return tuple(sorted(path.rstrip(os.sep) + os.sep for path in whole))


_PATH_AT_START = tuple(sys.path)


def require_own_files(folder: Path) -> None:
    """Refuse a folder whose index of weights, or whose tokenizer, names files that transformers would read elsewhere.

    Raises:
        OpenMofiError: it does, or one of these files is damaged.
    """
    for path in (*folder.glob("*.index.json"), *folder.glob("tokenizer_config.json")):
        raw = read_json(path, dict[str, Any], "Copy the whole checkpoint.")
        weights = as_type(raw.get("weight_map") or {}, dict[str, Any], str(path), "Copy the whole checkpoint.")
        # A vocabulary may be given as such, or as a path; positional arguments begin with it.
        vocabulary = [raw[name] for name in ("vocab", "merges") if isinstance(raw.get(name), str)]
        elsewhere = [name for name in weights.values() if not isinstance(name, str) or Path(name).name != name]
        # `tokenizer_file` often says where its maker had it, which releases before 5.12 would open where it is there.
        elsewhere += [
            name
            for key, name in raw.items()
            if key.endswith("_file") and isinstance(name, str) and Path(name).name != name and (folder / name).exists()
        ]
        for name in (*vocabulary, *(raw.get("init_inputs") or ()), *elsewhere):
            raise OpenMofiError(
                f"{path} names {str(name)[:80]!r}, which no file of others may.",
                "Put the file beside it, under the name that transformers gives it.",
            )


_opened: dict[str, tuple[str, str]] = {}


def opened_commits(settings: Any) -> dict[str, str]:
    """Return `hub:OWNER/NAME` → the commit, of the repositories behind what a job's settings name.

    Args:
        settings: JSON values. A repository is behind them if they hold its name, or the spec by which it was opened.
    """
    if not _opened:
        return {}
    text = json.dumps(settings, ensure_ascii=False, default=str)
    return {
        f"hub:{name}": commit
        for name, (commit, spec) in sorted(_opened.items())
        if name in text or (spec and spec in text)
    }


def pinned(owner_name: str, path: Path) -> Path:
    """Note the commit of what is opened of a repository; `path` is of the hub's cache, `…/snapshots/COMMIT/…`."""
    parts = path.parts
    if "snapshots" in parts[:-1]:
        _opened[owner_name] = parts[parts.index("snapshots") + 1], spec_in_opening()
    return path
