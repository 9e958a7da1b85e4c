"""An index of plain colours with labels, and a server over it: `python tests/search/served_world.py FOLDER`, whose
settings are the JSON of $SETTINGS; it may open $FILES files.
"""

import json
import os
import resource
import sys
import time
from pathlib import Path

from search_world import COLOURS, ColourEncoder, colour_encoder, write_colour_kb, write_images

from openmofi.encoders import as_encoder
from openmofi.knowledge import KnowledgeBase
from openmofi.plugins.server import ServeSettings, create_app, serve
from openmofi.search import Index, build

PROBABILITIES = (0.995, 0.97, 0.92, 0.85, 0.3)
"""Of the label of each colour's images, in turn; the last is below the threshold."""


class SlowEncoder(ColourEncoder):
    """Takes `SLOW` seconds for texts."""

    def embed_texts(self, texts):
        time.sleep(float(os.environ["SLOW"]))
        return super().embed_texts(texts)


def labelled_index(folder: Path, each: int = 5, encoder=None, place=None) -> Index:
    """Each image is labelled with its colour, and has the next colour as a candidate; in `folder`, or at `place`."""
    encoder = encoder or colour_encoder()
    place = place or folder / "index"
    if not (isinstance(place, Path) and place.exists()):
        for name, write in (("kb", write_colour_kb), ("images", lambda path: write_images(path, each))):
            if not (folder / name).exists():
                write(folder / name)
        build([str(folder / "images")], encoder, place, kb=KnowledgeBase.open(folder / "kb"), entities="all")
    index = Index.open(place, encoder)
    names = list(COLOURS)
    rows = []
    for image, key in index.connection.execute("SELECT id, key FROM images").fetchall():
        colour, number = key.split("-")
        probability = PROBABILITIES[int(number) % len(PROBABILITIES)]
        rows.append((image, f"c:{colour}", probability, probability > 0.8, 0.5))
        rows.append((image, f"c:{names[(names.index(colour) + 1) % len(names)]}", 0.1, False, 0.1))
    index.connection.executemany(
        "INSERT INTO labels VALUES (?, ?, ?, ?, ?) ON CONFLICT (image, entity) DO NOTHING", rows
    )
    return index


def served(index: Index, **settings):
    """A client of an application over it, as a browser on this machine."""
    from fastapi.testclient import TestClient

    settings = ServeSettings(**{"no_token": not settings.get("token"), **settings})
    return TestClient(create_app(index, settings), base_url="http://127.0.0.1:8000", raise_server_exceptions=False)


if __name__ == "__main__":
    if sys.argv[1] == "--mcp":
        from openmofi.plugins.server.agents import serve_tools

        serve_tools(Path(sys.argv[2]) / "index", colour_encoder(), who="".join(sys.argv[3:]))
    else:
        if files := int(os.environ.get("FILES", "0")):
            resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
        made = as_encoder(SlowEncoder()) if os.environ.get("SLOW") else None
        settings = {"port": 0, "no_token": True, **json.loads(os.environ.get("SETTINGS", "{}"))}
        serve(
            labelled_index(Path(sys.argv[1]), encoder=made),
            ServeSettings(**settings),
            on_start=lambda address: print(address, flush=True),
        )
