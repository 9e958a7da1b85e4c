"""Which encoder: the list by need, the speed on this machine, the comparison on a user's own pairs."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import openmofi
from openmofi.bootstrap import PairedDifference
from openmofi.encoders import open_encoder
from openmofi.errors import OpenMofiError, UsageError
from openmofi.plugins.encoders.catalogue import encoder_kinds
from openmofi.plugins.encoders.comparison import EncoderOnPairs, _verdict
from terminal import in_process, sentence


class Blind:
    """Embeds whatever it gets somewhere at random, by content."""

    def embed_images(self, images):
        return self._rows([np.asarray(image.resize((8, 8))).tobytes() for image in images])

    def embed_texts(self, texts):
        return self._rows([text.encode() for text in texts])

    def _rows(self, contents):
        draws = [np.random.default_rng(list(content)).normal(size=16) for content in contents]
        return np.array(draws, np.float32).reshape(len(contents), 16)


@pytest.mark.parametrize("spec", ["tiny", pytest.param("photo", marks=pytest.mark.slow)])
def test_what_is_listed_is_what_opens(spec):
    listed = {each.spec: each for each in openmofi.list_encoders()}[spec]
    encoder = open_encoder(spec)
    assert (listed.dim, listed.image_size) == (encoder.dim, encoder.preprocessing.size)
    assert listed.installed
    assert not listed.fetched


def test_the_list_names_open_clips_pretrained_tags_with_their_sizes():
    """Sizes and dimensions are those of the architectures."""
    import open_clip
    import torch

    with torch.device("meta"):
        for each in openmofi.list_encoders():
            if not each.spec.startswith("open_clip:"):
                continue
            name, _, tag = each.spec.removeprefix("open_clip:").partition("/")
            assert tag in open_clip.list_pretrained_tags_by_model(name)
            config = open_clip.get_model_config(name)
            custom = config.pop("custom_text", False)
            model = (open_clip.CustomTextCLIP if custom else open_clip.CLIP)(**config)
            assert each.dim == config["embed_dim"]
            assert each.image_size == config["vision_cfg"]["image_size"]
            assert each.parameters == round(sum(one.numel() for one in model.parameters()) / 1e6)


def test_a_missing_extra_is_said(monkeypatch):
    monkeypatch.setattr("openmofi.plugins.encoders.catalogue.find_spec", lambda _: None)
    assert [each.spec for each in openmofi.list_encoders() if each.installed] == ["tiny"]
    text = in_process("encoder", "list").stdout
    assert "extra torch (missing)" in text
    assert "missing: pip install" in text


def test_list_on_the_command_line():
    printed = json.loads(in_process("encoder", "list", "--json").stdout)
    assert [each["spec"] for each in printed["encoders"]] == [each.spec for each in openmofi.list_encoders()]
    assert printed["kinds"] == encoder_kinds()
    assert {"run", "onnx", "hf", "open_clip"} <= set(printed["kinds"])


@pytest.mark.slow
def test_bench_measures_each_encoder_in_a_process_of_its_own(small_world):
    arguments = (
        "--count",
        "4",
        "--repeats",
        "2",
        "--batch-size",
        "3",
        "--pairs",
        small_world.shards,
        "--device",
        "cpu",
    )
    first, second = json.loads(
        in_process("encoder", "bench", "tiny", "tiny", *arguments, "--device", "cpu", "--json").stdout
    )
    for each in (first, second):
        assert (each["count"], each["repeats"], each["device"]) == (4, 2, "cpu")
        assert 0 < each["images"]["least"] <= each["images"]["median"] <= each["images"]["most"]
        assert each["texts"]["median"] > 0
        assert each["device_memory_mib"] is None
        # Without PyTorch; this process has it loaded.
        assert 20 < each["memory_mib"] < 600
    table = in_process("encoder", "bench", "tiny", "--count", "2", "--repeats", "1").stdout
    assert "2 generated JPEGs" in table


def test_wrong_uses_of_bench_are_said_before_anything_is_measured(tmp_path):
    with pytest.raises(UsageError, match="repeats is 0"):
        openmofi.bench_encoders(["tiny"], repeats=0)
    (tmp_path / "empty").mkdir()
    with pytest.raises(OpenMofiError):
        openmofi.bench_encoders(["tiny"], pairs=tmp_path / "empty", progress=False)


@pytest.mark.slow
def test_an_error_of_the_process_is_the_callers():
    with pytest.raises(OpenMofiError, match="nowhere is not an encoder"):
        openmofi.bench_encoders(["run:nowhere"], count=1, progress=False)


@pytest.mark.slow
def test_a_script_that_starts_itself_again_is_told_so(tmp_path):
    (tmp_path / "script.py").write_text("import openmofi\nopenmofi.bench_encoders(['tiny'], count=1, repeats=1)\n")
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True)
    assert "A script calls this below `if __name__ == '__main__':`" in done.stderr


@pytest.fixture(scope="module")
def compared(small_world, small_encoder, tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    found = openmofi.compare_encoders(
        [Blind(), small_encoder], pairs=small_world.shards, kb=small_world.kb, cache=cache, progress=False
    )
    return found, cache


def test_the_encoder_that_sees_is_taken_and_the_other_called_blind(compared, small_encoder):
    found, _ = compared
    blind, sees = found.encoders
    assert found.best == sees.spec == small_encoder
    assert found.verdict == f"Take {small_encoder}: custom:Blind is blind here."
    assert blind.blind.startswith("This encoder can't tell these entities apart")
    assert (blind.labels, blind.right, blind.expected_precision) == (0, 0.0, None)
    assert sees.separation > 2 > blind.separation
    assert sees.right_interval[0] < sees.right < sees.right_interval[1]
    assert found.differences["custom:Blind"].difference == pytest.approx(sees.right, abs=0.01)


def test_it_expects_what_a_label_job_without_a_stored_calibration_expects(compared, small_world, tmp_path):
    """Its cache is the job's."""
    found, cache = compared
    labels = openmofi.label(
        small_world.shards,
        kb=small_world.kb,
        encoder=Blind(),
        out=tmp_path / "labels",
        cache=cache,
        target_precision=0.95,
        progress=False,
    )
    blind = found.encoders[0]
    fitted = labels.summary["calibration"]
    assert (fitted["separation"], fitted["information"]) == (blind.separation, blind.information)
    assert labels.summary["accepted"] == blind.labels


def test_encoders_that_cannot_be_compared_are_refused(small_world, small_encoder):
    for encoders in ([small_encoder], [small_encoder, small_encoder]):
        with pytest.raises(UsageError, match="two or more different encoders"):
            openmofi.compare_encoders(encoders, pairs=small_world.shards, kb=small_world.kb, progress=False)
    with pytest.raises(UsageError, match="target_precision"):
        openmofi.compare_encoders([], pairs=small_world.shards, kb=small_world.kb, target_precision=2.0)


def test_too_few_pairs_are_said(small_world, small_encoder):
    with pytest.raises(OpenMofiError, match="too few to calibrate") as raised:
        openmofi.compare_encoders(
            [Blind(), small_encoder], pairs=small_world.shards / "00000.tar", kb=small_world.kb, progress=False
        )
    assert raised.value.hint == "Give more pairs."


@pytest.mark.slow
def test_what_the_command_says(small_world, small_encoder):
    done = in_process(
        "encoder", "compare", "tiny", small_encoder, "--pairs", small_world.shards, "--kb", small_world.kb, "--json"
    )
    assert json.loads(done.stdout)["best"] == small_encoder
    wrong = in_process("encoder", "compare", "tiny", "--pairs", small_world.shards, "--kb", small_world.kb)
    assert sentence(wrong, 2).startswith("A comparison needs two")


ON_PAIRS = EncoderOnPairs("a", 3.0, 2.0, "", 50, 0.95, 47.5, (40.0, 55.0))


def difference(low, high):
    return PairedDifference(47.5, 40.0, (low + high) / 2, (low, high), 0.0, (0.0, 0.0), 0.01, 100)


@pytest.mark.parametrize(
    ("other", "interval", "says"),
    [
        ({}, (1.0, 3.0), "Take a: 2.0 more right labels a hundred pairs than b (1.0–3.0)."),
        ({}, (-1.0, 3.0), "These pairs cannot tell a and b apart. Take the faster one: openmofi encoder bench a b"),
        ({"blind": "It is blind."}, (-1.0, 3.0), "Take a: b is blind here."),
    ],
)
def test_verdicts(other, interval, says):
    b = replace(ON_PAIRS, spec="b", **other)
    assert _verdict([ON_PAIRS, b], "a", {"b": difference(*interval)}) == says


def test_verdicts_where_there_is_none_to_take():
    blind = [replace(ON_PAIRS, spec=name, blind="It is blind.", labels=0) for name in "ab"]
    assert _verdict(blind, "a", {"b": difference(0, 0)}).startswith("None of these encoders can tell")
    nothing = [replace(ON_PAIRS, spec=name, labels=0) for name in "ab"]
    assert "No encoder reaches the target precision" in _verdict(nothing, "a", {"b": difference(0, 0)})
