"""Every address in documents, settings and code: it is https, and its host is in hosts.txt. Nothing is fetched.

Links between pages are checked by `make docs`.
"""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
LISTED = Path(__file__).with_name("hosts.txt")
FOLDERS = ("docs", "src", "studies", "benchmarks", "tools", "deploy", ".github")
KINDS = {".md", ".py", ".toml", ".yml", ".cff", ".ipynb", ".js", ".html"}
ADDRESS = re.compile(r"\bhttps?://(?:localhost|[\w-]+(?:\.[\w-]+)+)(?![\w.-]*\{)")
OF_NOBODY = re.compile(r"https?://(localhost|127\.0\.0\.1|([\w-]+\.)*example\.org|[\w.-]+\.invalid)$")
"""Addresses of this machine, and names that RFC 2606 reserves for examples."""


def addresses():
    """Scheme and host → the files in which they are."""
    inside = (path for folder in FOLDERS for path in (ROOT / folder).rglob("*"))
    files = [path for path in (*ROOT.iterdir(), *inside) if path.suffix in KINDS and "built" not in path.parts]
    found = {}
    for path in files:
        for address in ADDRESS.findall(path.read_text("utf-8")):
            if not OF_NOBODY.match(address):
                found.setdefault(address, set()).add(str(path.relative_to(ROOT)))
    return found


def test_hosts_are_those_of_the_list():
    listed = [line for line in LISTED.read_text("utf-8").splitlines() if line and not line.startswith("#")]
    assert len(listed) == len(set(listed))
    found = addresses()
    new = {address: files for address, files in found.items() if address not in listed}
    assert not new, "is the host spelt right? then add it to tests/hosts.txt"
    assert not set(listed) - set(found), "in no file any more: take it from tests/hosts.txt"
    assert len(found["https://arxiv.org"]) > 5


def test_a_typo_in_a_host_is_seen():
    assert ADDRESS.findall("[MOFI](https://arxlv.org/abs/2306.07952)") == ["https://arxlv.org"]
    assert not ADDRESS.findall('f"https://{host}/a" "http://127.0.{third}.1" https://www.{domain}')
