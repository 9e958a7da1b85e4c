"""What installed packages add to OpenMOFI, found by their entry points.

A package names what it adds in its `pyproject.toml`, as in `[project.entry-points."openmofi.detectors"]`; the plug-ins
that lie in this package do the same. Nothing is imported before it is asked for (docs/extending.md).
"""

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from openmofi.errors import MissingExtraError, OpenMofiError


@cache
def _all() -> dict[str, dict[str, EntryPoint]]:
    groups: dict[str, dict[str, EntryPoint]] = {}
    points = entry_points()
    for group in points.groups:
        if group.startswith("openmofi."):
            installed = [point for point in points.select(group=group) if not _in_working_directory(point)]
            # The last of a name counts: nobody takes one of ours.
            installed.sort(key=lambda point: point.value.startswith("openmofi.plugins."))
            groups[group.removeprefix("openmofi.")] = {point.name: point for point in installed}
    return groups


def _in_working_directory(point: EntryPoint) -> bool:
    """Whether the package lies there, as in a stranger's folder; an installed one never does."""
    return point.dist is not None and Path(str(point.dist.locate_file(""))).resolve() == Path.cwd()


def extension_names(group: str) -> list[str]:
    """Return the sorted names that installed packages add to `openmofi.GROUP`; imports nothing."""
    return sorted(_all().get(group, {}))


def extension(group: str, name: str) -> Any:
    """Return what an installed package adds to `openmofi.GROUP` under a name; `None` where none does.

    Raises:
        MissingExtraError: it needs a package that is not installed.
        OpenMofiError: it cannot be imported.
    """
    point = _all().get(group, {}).get(name)
    if point is None:
        return None
    try:
        return point.load()
    except OpenMofiError:
        raise
    except (ImportError, AttributeError) as error:
        if isinstance(error, ModuleNotFoundError) and point.module.startswith("openmofi.plugins."):
            raise MissingExtraError.of(error.name or point.module) from error
        package = point.dist.name if point.dist else point.module
        raise OpenMofiError(
            f"The extension {name!r} of the package {package} cannot be loaded: {error}.",
            f"Install its dependencies, or remove it with: pip uninstall {package}.",
        ) from error


def own_part(group: str, name: str) -> Any:
    """Return what OpenMOFI itself adds to `openmofi.GROUP`.

    Raises:
        MissingExtraError: it needs a package that is not installed.
        OpenMofiError: this installation lacks it, such as one in development that is older than its sources.
    """
    if (part := extension(group, name)) is None:
        raise OpenMofiError(f"This installation of OpenMOFI lacks its part {group}.{name}.", "Install OpenMOFI again.")
    return part
