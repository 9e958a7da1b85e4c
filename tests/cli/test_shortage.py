"""A machine without memory is one sentence, not an internal error."""

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
