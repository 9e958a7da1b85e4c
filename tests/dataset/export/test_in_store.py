"""Exports whose output lies in a store: the files of a local one, whole or refused."""

import pytest

from openmofi.errors import OpenMofiError, UsageError
from openmofi.plugins.dataset_export import DatasetExportSettings
from openmofi.plugins.dataset_export.commands import export_dataset as by_api
from openmofi.plugins.dataset_export.job import export_dataset

pytestmark = pytest.mark.slow


def local(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    }


def stored(bucket, out):
    names = [name for name in bucket.listed(f"{out}/") if "/.openmofi" not in name]
    return {name.removeprefix(f"{out}/"): bucket.get(name) for name in names}


@pytest.mark.parametrize("style", ["parquet", "webdataset", "huggingface", "coco", "imagefolder", "xmp"])
def test_a_store_gets_the_files_of_a_folder_and_copies_for_links(small, bucket, tmp_path, style):
    settings = DatasetExportSettings(style)
    counts = export_dataset(small, tmp_path / "here", settings)
    assert export_dataset(small, "s3://data/out", settings) == counts
    found, wanted = stored(bucket, "out"), local(tmp_path / "here")
    assert len(wanted) > 4
    assert {name: found[name] for name in wanted if name != "manifest.json"} == {
        name: data for name, data in wanted.items() if name != "manifest.json"
    }
    assert found.keys() == wanted.keys()
    bucket.requests.clear()
    assert export_dataset(small, "s3://data/out", settings) == counts
    assert not [path for method, path in bucket.requests if method == "PUT" and ".openmofi" not in path], (
        "no file again"
    )


@pytest.mark.parametrize("style", ["parquet", "coco"])
def test_a_store_that_fails_midway_leaves_no_finished_export_and_the_same_command_goes_on(
    small, bucket, tmp_path, style, monkeypatch
):
    settings = DatasetExportSettings(style)
    module = "openmofi.storage.atomic" if style == "coco" else "openmofi.plugins.dataset_export.job"
    name = "_upload" if style == "coco" else "write_card"
    from importlib import import_module

    usual, calls = getattr(import_module(module), name), []

    def failing(*given):
        calls.append(given)
        # Of COCO the description, which goes last; of Parquet the card, behind the shards.
        if "croissant" in str(given) or name == "write_card":
            bucket.refuse = "QuotaExceeded"
        return usual(*given)

    with monkeypatch.context() as patch:
        patch.setattr(f"{module}.{name}", failing)
        with pytest.raises(OpenMofiError, match="quota") as caught:
            export_dataset(small, "s3://data/out", settings)
    assert "\n" not in str(caught.value)
    assert calls
    bucket.refuse = ""
    assert "out/croissant.json" not in bucket.listed("out/")
    counts = export_dataset(small, "s3://data/out", settings)
    assert counts == export_dataset(small, tmp_path / "here", settings)
    assert stored(bucket, "out").keys() == local(tmp_path / "here").keys()


def test_other_settings_and_what_is_to_be_pushed_are_refused(small, bucket):
    export_dataset(small, "s3://data/out", DatasetExportSettings("parquet"))
    with pytest.raises(OpenMofiError, match="was made with other settings"):
        export_dataset(small, "s3://data/out", DatasetExportSettings("parquet", min_probability=0.5))
    export_dataset(small, "s3://data/out", DatasetExportSettings("coco"), restart=True)
    assert "out/annotations.json" in bucket.listed("out/")
    assert not [name for name in bucket.listed("out/") if name.startswith("out/data/")], "--restart removes the files"
    with pytest.raises(UsageError, match="outputs are local"):
        by_api(small, "s3://data/other", format="huggingface", push="me/birds")
    assert not bucket.listed("other/")


def test_a_push_of_links_is_refused_before_anything_is_written(small, tmp_path):
    for style in ("coco", "imagefolder", "fiftyone"):
        with pytest.raises(UsageError, match="would upload what these lead to"):
            by_api(small, tmp_path / "out", format=style, push="me/birds", images="reference")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("style", ["coco", "imagefolder", "fiftyone"])
def test_a_table_of_others_sends_images_to_a_store_and_no_other_file(pictured, bucket, style):
    dataset, pictures = pictured
    settings = DatasetExportSettings(style)
    export_dataset(dataset, "s3://data/out", settings)
    assert set(pictures.values()) <= set(stored(bucket, "out").values())
    with pytest.raises(OpenMofiError, match="cannot link to"):
        export_dataset(dataset, "s3://data/linked", DatasetExportSettings(style, "reference"))
    path = next(iter(pictures))
    path.unlink()
    path.symlink_to(dataset.parent / "secret")
    (dataset.parent / "secret").write_text("password: swordfish")
    with pytest.raises(OpenMofiError, match="is not an image"):
        export_dataset(dataset, "s3://data/other", settings)
    assert not [
        data for out in ("other", "linked") for data in stored(bucket, out).values() if data in pictures.values()
    ]
    assert not [name for name in bucket.listed() if b"swordfish" in bucket.get(name)]
