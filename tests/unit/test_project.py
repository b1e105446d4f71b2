"""The files around the package: Makefile, tasks, requirements, settings' sample, Compose, Dockerfile, CI."""

import dataclasses
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

import noetl
from noetl.settings import TABLE, Settings, load_settings

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def read(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


# .env.example


def sample() -> dict[str, str]:
    """Return the variables of .env.example with the values shown."""
    return dict(re.findall(r"^#([A-Z][A-Z_]+)=(.*)$", read(".env.example"), re.MULTILINE))


def variables_of_the_program() -> set[str]:
    """Return the variables of the table of settings, and those read from the environment elsewhere in the package."""
    found = {variable for setting in TABLE.values() for variable in setting.variables}
    for file in (ROOT / "noetl").rglob("*.py"):
        found |= set(re.findall(r"environ\w*(?:\.get\(|\[)\s*\"(NOETL_\w+)\"", file.read_text("utf-8")))
    return found


def compose_variables() -> set[str]:
    return set(re.findall(r"(?<!\$)\$\{([A-Z_]+)", read("docker-compose.yml")))


def test_everything_in_the_sample_of_the_settings_is_commented_out() -> None:
    assert not [line for line in read(".env.example").splitlines() if line and not line.startswith("#")]


def test_the_sample_explains_exactly_the_variables_that_are_read() -> None:
    assert set(sample()) == variables_of_the_program() | compose_variables()


@pytest.mark.parametrize("variable", sorted(set(sample()) - {"POSTGRES_IMAGE", "NOETL_IMAGE", "PYTHON_IMAGE"}))
def test_a_value_of_the_sample_is_right_and_the_default(
    variable: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in sample():
        monkeypatch.delenv(name, raising=False)
    default = load_settings()
    monkeypatch.setenv(variable, sample()[variable])
    given = load_settings()
    no_default = {"home", "environment", "embedded", "template_env", "allowed_hosts", "port", "encryption_key"}
    for field in dataclasses.fields(Settings):
        value, expected = getattr(given, field.name), getattr(default, field.name)
        if field.name not in no_default and expected is not None:
            assert value == expected


def test_the_older_name_still_initializes_the_schema(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NOETL_INIT_DB", raising=False)
    monkeypatch.setenv("NOETL_SCHEMA_VALIDATE", "true")
    assert load_settings().init_db is True


# Requirements


def pins(name: str) -> dict[str, str]:
    """Return package -> version of a requirements file."""
    return dict(re.findall(r"^([a-z0-9._-]+)==([^ ;\\]+)", read(name), re.MULTILINE))


def declared(*extras: str) -> list[Requirement]:
    optional = PROJECT["optional-dependencies"]
    lines = [*PROJECT["dependencies"], *(line for extra in extras for line in optional[extra])]
    return [found for line in lines if (found := Requirement(line)).name != PROJECT["name"]]


@pytest.mark.parametrize(
    ("file", "extras"),
    [("requirements.txt", ("build", "ops", "duckdb")), ("requirements-dev.txt", ("build", "ops", "duckdb", "dev"))],
)
def test_what_the_project_asks_for_is_pinned_with_a_version_that_fits(file: str, extras: tuple[str, ...]) -> None:
    pinned = pins(file)
    for requirement in declared(*extras):
        assert pinned[requirement.name.lower()] in requirement.specifier


@pytest.mark.parametrize("file", ["requirements.txt", "requirements-dev.txt"])
def test_every_pin_has_hashes_and_no_index_is_named(file: str) -> None:
    entries = re.split(r"\n(?=\S)", re.sub(r"^\s*#.*\n", "", read(file), flags=re.MULTILINE).strip())
    assert len(entries) == len(pins(file))
    assert all("--hash=sha256:" in entry for entry in entries)
    assert "://" not in read(file)


def test_development_uses_the_versions_of_the_program() -> None:
    assert pins("requirements.txt").items() <= pins("requirements-dev.txt").items()


# Makefile and tasks

RULE = re.compile(r"^([a-z][a-z-]*):(?: [a-z-]+)?(?: ## (.+))?\n((?:\t.*\n)*)", re.MULTILINE)


def rules() -> dict[str, tuple[str, list[str]]]:
    """Return target -> (what it says of itself, the lines of its recipe)."""
    return {name: (text, recipe.splitlines()) for name, text, recipe in RULE.findall(read("Makefile"))}


def test_make_alone_prints_every_target_with_what_it_does() -> None:
    printed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target, (text, _) in rules().items():
        if target not in {"venv", "venv-dev"}:
            assert text, target
            assert re.search(rf"^  {target} +{re.escape(text.replace('$$', '$'))}$", printed, re.MULTILINE), target


def test_each_target_is_one_silent_line() -> None:
    for target, (_, recipe) in rules().items():
        assert len(recipe) == 1, target
        assert recipe[0].startswith("\t@"), target


def test_each_target_calls_a_task_of_its_own_name() -> None:
    tasks = {name.replace("_", "-") for name in re.findall(r"^@task.*\ndef (\w+)", read("tasks.py"), re.MULTILINE)}
    for target, (_, recipe) in rules().items():
        if found := re.search(r"\$\(INVOKE\) ([a-z-]+)(?: (\w+))?", recipe[0]):
            assert found[1] in tasks
            assert target in {found[1], f"export-{(found[2] or '').replace('_', '-')}"}


def test_all_the_documented_targets_exist() -> None:
    assert rules().keys() >= {
        *("install", "postgres-up", "postgres-down", "postgres-reset-schema", "start-server", "stop-server"),
        *("server-status", "worker-start", "worker-stop", "noetl-execute", "noetl-execute-status"),
        *("noetl-execute-watch", "export-execution-logs", "register-examples", "logs", "test", "check", "bench"),
        *("clean", "clean-data"),
    }


# Compose, image, CI


def test_every_variable_of_compose_has_a_default() -> None:
    found = re.findall(r"(?<!\$)\$\{([^}]*)\}", read("docker-compose.yml"))
    assert found
    assert all(re.fullmatch(r"[A-Z_]+:-.+", variable) for variable in found)


def test_compose_publishes_on_the_loopback_address_only() -> None:
    services = yaml.safe_load(read("docker-compose.yml"))["services"]
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_postgres_alone_is_started_without_the_profile() -> None:
    services = yaml.safe_load(read("docker-compose.yml"))["services"]
    assert [name for name, service in services.items() if "profiles" not in service] == ["postgres"]
    assert set(services) == {"postgres", "schema", "server", "worker"}
    assert services["schema"]["command"] == ["db", "apply-schema", "--ensure-role"]


def test_the_image_runs_as_an_ordinary_user_without_an_embedded_database() -> None:
    last_stage = read("Dockerfile").rpartition("\nFROM ")[2]
    assert re.search(r"^USER [1-9]\d*$", last_stage, re.MULTILINE)
    assert "NOETL_EMBEDDED=false" in last_stage


def test_ci_stops_at_the_first_failure_and_runs_checks_and_tests() -> None:
    script = ROOT / ".ci/run"
    assert script.stat().st_mode & 0o111
    subprocess.run(["bash", "-n", str(script)], check=True)
    lines = script.read_text("utf-8").splitlines()
    assert "set -euo pipefail" in lines
    assert [line for line in lines if line.startswith("make ")] == ["make install", "make check", "make test"]


@pytest.mark.parametrize("script", sorted((ROOT / "scripts").glob("*.sh")), ids=lambda script: script.name)
def test_the_scripts_are_plain_shell(script: Path) -> None:
    subprocess.run(["sh", "-n", str(script)], check=True)
    assert "set -eu" in script.read_text("utf-8").splitlines()


# README, CHANGELOG, LICENSE


def test_the_readme_names_every_dependency_with_its_reason() -> None:
    text = read("README.md")
    for requirement in declared("ops", "dev", "build"):
        assert re.search(rf"^\| .*`{re.escape(requirement.name)}`.* \| .{{20,}} \|$", text, re.MULTILINE), requirement


def test_the_changelog_names_the_version_in_the_known_form() -> None:
    text = read("CHANGELOG.md")
    assert text.startswith("# Changelog\n")
    assert re.search(r"^## \[(Unreleased|\d+\.\d+\.\d+)\]", text, re.MULTILINE)
    assert set(re.findall(r"^### (.+)$", text, re.MULTILINE)) <= {
        *("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")
    }


def test_the_version_stands_in_one_piece() -> None:
    assert PROJECT["version"] == noetl.__version__


def test_the_license_is_in_the_package() -> None:
    assert "MIT License" in read("LICENSE")
    assert PROJECT["license-files"] == ["LICENSE"]
