from __future__ import annotations

import pytest


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    (folder / "in").mkdir(parents=True)
    (folder / "a.jpg").write_bytes(b"A")
    (folder / "in/b.png").write_bytes(b"BB")
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    return folder
