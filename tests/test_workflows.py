"""What runs on GitHub: the same commands as .ci/run, all parts of the suite, with tools whose versions are pinned."""

import re
import shlex
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
GITHUB = ROOT / ".github"
JOBS = yaml.safe_load((GITHUB / "workflows/ci.yml").read_text("utf-8"))["jobs"]
LOCAL = {"./.github/actions/setup"}


def commands(job: dict) -> list[str]:
    return [step["run"] for step in job["steps"] if "run" in step]


def made(text: str) -> set[str]:
    """The targets of `make` in the lines of a script."""
    lines = (shlex.split(line, comments=True) for line in text.splitlines())
    return {words[1] for words in lines if words[:1] == ["make"]}


def test_github_runs_what_ci_runs():
    in_ci = made((ROOT / ".ci/run").read_text("utf-8")) - {"test"}  # `make test-all` has these tests too
    on_github = {target for job in JOBS.values() for command in commands(job) for target in made(command)}
    assert {"lint", "docs", "test-all", "test-needs"} <= on_github
    assert in_ci - on_github == {"wheel"}
    assert "tools/wheel.py" in str(commands(JOBS["wheel"]))
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert all(re.search(rf"^{target}:|^test {target} ", makefile, re.M) for target in on_github)


def test_shards_are_all_parts_of_the_suite():
    assert JOBS["tests"]["strategy"]["matrix"] == {"shard": list(range(1, 7))}
    assert "make test-all SHARD=${{ matrix.shard }}/${{ strategy.job-total }}" in commands(JOBS["tests"])


def test_the_wheel_is_tried_on_each_python_that_it_names():
    named = re.findall(r"Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text("utf-8"))
    assert JOBS["wheel"]["strategy"]["matrix"] == {"python": named}


def test_each_job_ends_and_each_action_has_a_version():
    setup = yaml.safe_load((GITHUB / "actions/setup/action.yml").read_text("utf-8"))
    assert all(0 < job["timeout-minutes"] <= 60 for job in JOBS.values())
    used = [step["uses"] for each in (*JOBS.values(), setup["runs"]) for step in each["steps"] if "uses" in step]
    assert len(used) > 8
    assert all(use in LOCAL or re.fullmatch(r"[\w-]+/[\w-]+@v\d+", use) for use in used)


def test_forms_ask_and_hooks_call_what_is_locked():
    for form in sorted((GITHUB / "ISSUE_TEMPLATE").glob("[!c]*.yml")):
        fields = yaml.safe_load(form.read_text("utf-8"))
        assert fields["name"]
        assert any(field.get("validations", {}).get("required") for field in fields["body"]), form
    (hooks,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"]
    tools = {hook["entry"].split()[0] for hook in hooks["hooks"]}
    assert tools == {".venv/bin/ruff", ".venv/bin/codespell"}
    assert all(tool.removeprefix(".venv/bin/") in (ROOT / "Makefile").read_text("utf-8") for tool in tools)
