"""Files for other programs: the build machines' workflow, the hooks before a commit, the citation, the changelog."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.specifiers import SpecifierSet
from pre_commit.clientlib import load_config

import bootstrap
import handviz
from handviz.core.paths import PROJECT_ROOT

WORKFLOW = PROJECT_ROOT / ".github" / "workflows" / "test.yml"
HOOKS = PROJECT_ROOT / ".pre-commit-config.yaml"
CITATION = PROJECT_ROOT / "CITATION.cff"
CHANGELOG = PROJECT_ROOT / "CHANGELOG.md"
KINDS_OF_CHANGES = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=60, check=False)


def check_schema(path: Path, schema: str) -> subprocess.CompletedProcess[str]:
    """Hold a YAML file against one of the schemas that check-jsonschema brings along."""
    module = [sys.executable, "-m", "check_jsonschema", "--force-filetype", "yaml"]
    return run(*module, "--builtin-schema", schema, path)


def audit(path: Path) -> subprocess.CompletedProcess[str]:
    """Look for security errors of workflow files."""
    zizmor = shutil.which("zizmor", path=Path(sys.executable).parent)
    assert zizmor
    return run(zizmor, "--offline", "--no-progress", "--persona", "auditor", path)


def jobs_of_workflow() -> dict[str, Any]:
    jobs: dict[str, Any] = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]
    return jobs


@pytest.mark.parametrize("schema", ["vendor.github-workflows", "custom.github-workflows-require-timeout"])
def test_the_workflow_fits_its_schema(schema: str) -> None:
    outcome = check_schema(WORKFLOW, schema)
    assert outcome.returncode == 0, outcome.stdout


@pytest.mark.parametrize(
    ("line", "wrong", "schema"),
    [
        ("runs-on:", "run-on:", "vendor.github-workflows"),
        ("timeout-minutes: 60", "", "custom.github-workflows-require-timeout"),
    ],
)
def test_a_wrong_workflow_does_not_fit(tmp_path: Path, line: str, wrong: str, schema: str) -> None:
    path = tmp_path / "test.yml"
    text = WORKFLOW.read_text(encoding="utf-8")
    assert line in text
    path.write_text(text.replace(line, wrong), encoding="utf-8")
    assert check_schema(path, schema).returncode == 1


def test_the_workflow_has_no_known_weakness() -> None:
    outcome = audit(WORKFLOW)
    assert outcome.returncode == 0, outcome.stdout


@pytest.mark.parametrize(
    ("line", "weak", "finding"),
    [
        (r"checkout@\w{40}", "checkout@main", "unpinned-uses"),
        ("permissions: {}", "permissions: write-all", "excessive-permissions"),
        ("persist-credentials: false", "fetch-depth: 1", "artipacked"),
    ],
)
def test_a_weak_workflow_is_found(tmp_path: Path, line: str, weak: str, finding: str) -> None:
    folder = tmp_path / ".github" / "workflows"
    folder.mkdir(parents=True)
    text, count = re.subn(line, weak, WORKFLOW.read_text(encoding="utf-8"))
    assert count == 1
    (folder / "test.yml").write_text(text, encoding="utf-8")
    outcome = audit(folder / "test.yml")
    assert outcome.returncode != 0
    assert finding in outcome.stdout


def test_the_workflow_runs_the_quick_checks_on_three_systems() -> None:
    (job,) = jobs_of_workflow().values()
    assert job["steps"][-1]["run"] == f"python bootstrap.py test {bootstrap.QUICK}"
    matrix = job["strategy"]["matrix"]
    assert {system.partition("-")[0] for system in matrix["os"]} == {"ubuntu", "windows", "macos"}
    project = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pythons = [*matrix["python"], *(extra["python"] for extra in matrix["include"])]
    assert all(version in SpecifierSet(project["requires-python"]) for version in pythons)
    assert "3.11" in pythons


def test_the_version_of_qt_that_the_workflow_looks_up_is_there() -> None:
    steps = next(iter(jobs_of_workflow().values()))["steps"]
    (pattern,) = (
        match[1] for step in steps if (match := re.search(r"grep '([^']+)' requirements", step.get("run", "")))
    )
    lines = (PROJECT_ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert len([line for line in lines if re.match(pattern, line)]) == 1


def test_the_hooks_before_a_commit_are_local_and_run_the_checks_own_tools() -> None:
    (repository,) = load_config(str(HOOKS))["repos"]
    assert repository["repo"] == "local"
    hooks = {hook["name"]: hook for hook in repository["hooks"]}
    assert {hook["language"] for hook in hooks.values()} == {"unsupported"}
    steps = bootstrap.check_commands([], is_quick=True)
    checks = {name: " ".join(steps[name][2:]).replace("--check ", "").removesuffix(" .") for name in steps}
    entries = {name: hook["entry"].removeprefix("python -m ") for name, hook in hooks.items()}
    assert {name: entries[name] for name in checks if name in entries} == {
        name: line for name, line in checks.items() if name != "pytest"
    }
    for hook in hooks.values():
        assert shutil.which(hook["entry"].split()[0], path=Path(sys.executable).parent), hook["entry"]


def test_the_citation_fits_its_schema_and_the_package(tmp_path: Path) -> None:
    outcome = check_schema(CITATION, "vendor.citation-file-format")
    assert outcome.returncode == 0, outcome.stdout
    citation = yaml.safe_load(CITATION.read_text(encoding="utf-8"))
    project = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (citation["version"], citation["license"]) == (handviz.__version__, project["license"])
    without_authors = tmp_path / "CITATION.cff"
    without_authors.write_text(yaml.safe_dump({**citation, "authors": []}), encoding="utf-8")
    assert check_schema(without_authors, "vendor.citation-file-format").returncode == 1


def test_the_changelog_has_the_headings_of_keep_a_changelog() -> None:
    text = re.sub(r"^```.*?^```", "", CHANGELOG.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^(#+) (.*)$", text, flags=re.MULTILINE)
    versions = [title for marks, title in headings if marks == "##"]
    assert versions[0] == "Unreleased"
    assert all(re.fullmatch(r"\d+\.\d+\.\d+( - \d{4}-\d\d-\d\d)?", version) for version in versions[1:])
    assert {title for marks, title in headings if marks == "###"} <= KINDS_OF_CHANGES
