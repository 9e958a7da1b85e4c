"""A machine without memory, or a path without permission, is one sentence, not an internal error."""

import pytest

from openmofi.cli.command import run_app


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (MemoryError(), "error: out of memory."),
        (MemoryError("no room for it"), "error: out of memory: no room for it."),
    ],
)
def test_out_of_memory_is_a_sentence(capsys, error, says):
    def fail() -> None:
        raise error

    with pytest.raises(SystemExit) as ended:
        run_app(fail)
    assert ended.value.code == 1
    message = capsys.readouterr().err
    assert message.startswith(says)
    assert "--batch-size" in message


def test_a_path_of_another_user_is_a_sentence(capsys):
    def fail() -> None:
        raise PermissionError(13, "Permission denied", "/data/index/index.db")

    with pytest.raises(SystemExit) as ended:
        run_app(fail)
    assert ended.value.code == 1
    assert capsys.readouterr().err.startswith("error: /data/index/index.db: permission denied.\n")
