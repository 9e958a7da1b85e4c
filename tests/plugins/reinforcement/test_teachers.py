import pytest

from openmofi.errors import OpenMofiError, UsageError
from openmofi.plugins.reinforcement import ReinforceSettings, TeacherSpec, parse_specs, parse_teachers
from openmofi.plugins.reinforcement.teachers import _name, open_teachers


def test_the_last_colon_parts_a_spec_from_its_scale():
    assert parse_teachers("run:a/b:100, hf:x:50") == (TeacherSpec("run:a/b", 100.0), TeacherSpec("hf:x", 50.0))
    assert parse_teachers("sample:alt-text:14.5") == (TeacherSpec("sample:alt-text", 14.5),)
    assert parse_specs("run:a/b:100,sample,hf:x") == ("run:a/b", "sample", "hf:x")


@pytest.mark.parametrize("text", ["run:a/b", "sample", "sample:alt-text", "run:a:", "run:a:10,hf:x"])
def test_without_a_scale_it_refuses_to_start_and_names_the_way_to_one(text):
    with pytest.raises(UsageError, match="tune-scale"):
        parse_teachers(text)


@pytest.mark.parametrize("scale", ["1.0", "0", "-20", "nan", "inf", "4.9"])
def test_scales_that_say_nothing_are_refused(scale):
    with pytest.raises(UsageError, match="tune-scale"):
        parse_teachers(f"run:a:{scale}")


@pytest.mark.parametrize("text", ["", "run:a:10,", "run:a:10,run:a:10"])
def test_no_teacher_or_one_twice_is_refused(text):
    with pytest.raises(UsageError):
        parse_teachers(text)


def test_names_are_short_and_unique():
    assert _name("run:/x/runs/a/encoder", []) == "a-encoder"
    assert _name("open_clip:ViT-B-16/laion2b", []) == "ViT-B-16-laion2b"
    assert _name("sample:alt-text", ["alt-text"]) == "alt-text-2"


def test_a_device_that_there_is_not_is_named():
    with pytest.raises(UsageError, match="Unknown device 'gpu'"):
        open_teachers([TeacherSpec("run:a", 20.0)], "gpu")


def test_an_encoder_without_a_joint_space_cannot_teach():
    with pytest.raises(OpenMofiError):
        open_teachers([TeacherSpec("backbone:efficientnet-lite0+minilm", 20.0)])


@pytest.mark.parametrize(
    "wrong",
    [
        {"augmentations": 0},
        {"captions": -1},
        {"size": -1},
        {"precision": "fp8"},
        {"captioner": "blip"},
        {"captioner": "hf:"},
        {"seed": -1},
    ],
)
def test_settings_that_cannot_work_are_refused(wrong):
    with pytest.raises(UsageError):
        ReinforceSettings((TeacherSpec("sample", 20.0),), **wrong)
