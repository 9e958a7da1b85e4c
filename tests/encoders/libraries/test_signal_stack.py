"""Signals after OpenVINO's engines are freed in the order in which they came."""

import subprocess
import sys

import pytest

PROGRAM = """
import contextlib, os, signal, sys
import numpy as np
import openvino
from openvino import opset13
from openmofi.plugins.export.openvino import signal_stack_kept

heard = []
signal.signal(signal.SIGINT, lambda *_: heard.append(1))
given = opset13.parameter([1], np.float32)
model = openvino.Model([opset13.relu(given)], [given])
engines = []
for _ in range(2):
    with signal_stack_kept() if sys.argv[1] == "kept" else contextlib.nullcontext():
        core = openvino.Core()
        engines.append((core, core.compile_model(model, "CPU")))
del core
engines.pop(0)
engines.pop(0)
os.kill(os.getpid(), signal.SIGINT)
print(len(heard))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs: OpenVINO's way with signals on Linux")
def test_ctrl_c_is_heard_when_engines_are_gone():
    pytest.importorskip("openvino")
    done = subprocess.run([sys.executable, "-c", PROGRAM, "kept"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr


def test_the_stack_of_before_is_there_after_another_was_set():
    import ctypes

    from openmofi.plugins.export.openvino import signal_stack_kept

    change = ctypes.CDLL(None).sigaltstack
    before, after = ctypes.create_string_buffer(64), ctypes.create_string_buffer(64)
    change(None, before)
    with signal_stack_kept():
        disabled = ctypes.create_string_buffer(64)
        ctypes.c_int.from_buffer(disabled, ctypes.sizeof(ctypes.c_void_p)).value = 2  # SS_DISABLE
        assert change(disabled, None) == 0
        change(None, after)
        assert after.raw[:8] != before.raw[:8] or before.raw[8] == 2
    change(None, after)
    assert after.raw == before.raw
