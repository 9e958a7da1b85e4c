"""Uploads a finished export to a hub of models and datasets."""

from pathlib import Path
from typing import Any

from openmofi.errors import MissingExtraError, OpenMofiError, UsageError, first_line
from openmofi.storage.manifest import MANIFEST

_LEFT = [".*", "**/.*", MANIFEST]


def push(
    folder: str | Path,
    repository: str,
    *,
    kind: str = "model",
    private: bool = False,
    endpoint: str | None = None,
    token: str | None = None,
) -> str:
    """Upload a folder; the repository is made where it is missing. Returns the address of what was uploaded.

    Args:
        folder: of a finished export; hidden files and the manifest stay here.
        repository: OWNER/NAME.
        kind: `model` or `dataset`.
        private: of a repository that is made.
        endpoint: of the hub; by default `$HF_ENDPOINT`, or huggingface.co.
        token: by default the one of `hf auth login` or `$HF_TOKEN`.

    Raises:
        UsageError: no repository can have this name.
        MissingExtraError: huggingface_hub is not installed.
        OpenMofiError: the hub cannot be reached, or refuses.
    """
    try:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError
    except ModuleNotFoundError as error:
        raise MissingExtraError.of("huggingface-hub", "hf") from error
    if not (Path(folder) / MANIFEST).is_file():
        raise OpenMofiError(f"{folder} is no finished export.", "Export it first.")
    api: Any = HfApi(endpoint=endpoint, token=token)
    try:
        api.create_repo(repository, repo_type=kind, private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repository,
            repo_type=kind,
            folder_path=str(folder),
            ignore_patterns=_LEFT,
            commit_message="Exported by OpenMOFI",
        )
    except HFValidationError as error:
        raise UsageError(
            f"{repository!r} is no name of a repository: {first_line(error)}", "Write OWNER/NAME."
        ) from error
    except (HfHubHTTPError, LocalTokenNotFoundError) as error:
        raise OpenMofiError(
            f"The hub refuses {repository}: {first_line(error)}",
            "Check the name and `hf auth login`; the export itself is whole.",
        ) from error
    except Exception as error:  # its HTTP client raises classes of its own that share no base
        raise OpenMofiError(
            f"{repository} could not be uploaded: {type(error).__name__}: {first_line(error)}",
            "The export itself is whole; start the same command again to go on.",
        ) from error
    return str(commit.commit_url)
