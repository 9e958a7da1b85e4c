"""The only module that reaches for the Hugging Face hub: the cache first, then a short check, then the download.

A repository is `OWNER/NAME`, or `OWNER/NAME@REVISION` with a commit, a tag or a branch. The commits of what a job
opened go into its manifest (`storage.foreign`).
"""

import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

from openmofi.errors import MissingExtraError, OpenMofiError
from openmofi.storage.foreign import network_allowed, pinned

_TIMEOUT_SECONDS = 5.0
_ALTERNATIVES = (
    "Use a local checkpoint (hf:FOLDER, open_clip:ARCH/FILE.safetensors), an encoder of your own "
    "(run:FOLDER), or `sample`; or try again with a connection."
)
_Result = TypeVar("_Result")


def hub_file(repository: str, names: Sequence[str]) -> Path:
    """Return the first of `names` that the repository has. A cached file is used without asking the hub.

    Raises:
        OpenMofiError: the hub cannot be reached, or has no such repository, revision or file.
    """
    _require_client()
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError

    owner_name, revision = _parts(repository)
    for name in names:
        if isinstance(cached := try_to_load_from_cache(owner_name, name, revision=revision), str):
            return pinned(owner_name, Path(cached))
    _check_reachable(repository)
    for name in names:
        try:
            return pinned(
                owner_name, Path(_download(repository, partial(hf_hub_download, owner_name, name, revision=revision)))
            )
        except EntryNotFoundError:
            continue
    raise OpenMofiError(f"{repository} on the Hugging Face hub has none of {', '.join(names)}.", _ALTERNATIVES)


def hub_folder(repository: str, patterns: Sequence[str], needed: Sequence[str]) -> Path:
    """Return a local copy of the files of a repository that match `patterns`.

    A cached copy that has a file for each pattern in `needed` is used without asking the hub.

    Raises:
        OpenMofiError: the hub cannot be reached, or has no such repository or revision.
    """
    cached = cached_folder(repository, patterns, needed)
    if cached is not None:
        return cached
    from huggingface_hub import snapshot_download

    owner_name, revision = _parts(repository)
    _check_reachable(repository)
    return pinned(
        owner_name,
        Path(
            _download(
                repository, lambda: snapshot_download(owner_name, revision=revision, allow_patterns=list(patterns))
            )
        ),
    )


def cached_folder(repository: str, patterns: Sequence[str], needed: Sequence[str]) -> Path | None:
    """Return the cached copy of a repository if it has a file for each pattern in `needed`; never ask the hub.

    Raises:
        OpenMofiError: no repository can have this name.
    """
    _require_client()
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    owner_name, revision = _parts(repository)
    try:
        folder = Path(
            snapshot_download(owner_name, revision=revision, allow_patterns=list(patterns), local_files_only=True)
        )
    except HFValidationError as error:
        raise OpenMofiError(
            f"{repository!r} is neither a folder nor a repository name on the Hugging Face hub.", "Check the path."
        ) from error
    except LocalEntryNotFoundError:
        return None
    return pinned(owner_name, folder) if all(any(folder.glob(pattern)) for pattern in needed) else None


def weights_folder(repository: str, patterns: Sequence[str], needed: str, choices: Sequence[str]) -> Path:
    """Return a local copy of a repository with the first of `choices` it has; a cached copy with any will do.

    Args:
        repository: see the module.
        patterns: of the files besides the weights.
        needed: one that must be there.
        choices: patterns of weights, the best first; a worse one is fetched only where a better one is missing.

    Raises:
        OpenMofiError: the hub cannot be reached, or has no such repository or none of the weights.
    """
    for choice in choices:
        folder = cached_folder(repository, [*patterns, choice], [needed, choice])
        if folder is not None:
            return folder
    for choice in choices:
        folder = hub_folder(repository, [*patterns, choice], [needed, choice])
        if any(folder.glob(choice)):
            return folder
    raise OpenMofiError(f"{repository} on the Hugging Face hub has none of {', '.join(choices)}.", _ALTERNATIVES)


def _parts(repository: str) -> tuple[str, str | None]:
    """Split a repository's name into owner and name, and the revision."""
    owner_name, _, revision = repository.partition("@")
    return owner_name, revision or None


def _require_client() -> None:
    if find_spec("huggingface_hub") is None:
        raise MissingExtraError.of("huggingface-hub", "hf")


def _download(repository: str, download: Callable[[], _Result]) -> _Result:
    from huggingface_hub import errors

    try:
        with network_allowed():
            return download()
    except errors.LocalEntryNotFoundError as error:
        raise _unreachable(repository) from error
    except errors.EntryNotFoundError:
        raise
    except errors.GatedRepoError as error:
        raise OpenMofiError(
            f"{repository} on the Hugging Face hub asks for a login or an agreement.",
            "Accept its terms and run `hf auth login`, or use another encoder.",
        ) from error
    except errors.RevisionNotFoundError as error:
        raise OpenMofiError(
            f"The Hugging Face hub has no such revision: {repository}.", "Give a commit, a tag or a branch of it."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise OpenMofiError(
            f"The Hugging Face hub has no repository {repository!r} (or it is private).", "Check the name."
        ) from error
    except (errors.HfHubHTTPError, OSError) as error:
        raise _unreachable(repository) from error


def _check_reachable(repository: str) -> None:
    # The hub's own client retries for most of a minute and logs each try; a person should know at once.
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise _unreachable(repository)
    try:
        with network_allowed():
            urllib.request.urlopen(constants.ENDPOINT, timeout=_TIMEOUT_SECONDS).close()
    except urllib.error.HTTPError:
        return
    except (OSError, ValueError) as error:
        raise _unreachable(repository) from error


def _unreachable(repository: str) -> OpenMofiError:
    return OpenMofiError(
        f"The Hugging Face hub cannot be reached, and {repository} is not in the local cache.", _ALTERNATIVES
    )
