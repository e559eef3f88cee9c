"""The set-up files agree with each other, and pip finds a solution for the conda environment's pip section."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import tomllib
import yaml
from packaging.requirements import Requirement

from .conftest import REPOSITORY


def pip_section() -> list[str]:
    environment = yaml.safe_load((REPOSITORY / "environment.yml").read_text())
    (section,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    return list(section)


def pinned() -> dict[str, str]:
    lines = (REPOSITORY / "requirements" / "pc.txt").read_text().splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in pairs}


def test_the_pins_satisfy_the_project() -> None:
    """Every requirement of every extra admits the version that `make` installs (two go in by themselves)."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    wanted = [Requirement(text) for group in [project["dependencies"], *extras] for text in group]
    pins = {**pinned(), "finn-plus": "1.6.1", "hls4ml": "1.3.0"}
    checked = 0
    for requirement in wanted:
        if requirement.name == "fpga-facedet" or not (requirement.marker is None or requirement.marker.evaluate()):
            continue
        version = pins[re.sub(r"[-_.]+", "-", requirement.name).lower()]
        assert requirement.specifier.contains(version), f"{requirement} does not admit {version}"
        checked += 1
    assert checked > 15


def test_pynq_is_asked_for_on_the_board_only() -> None:
    for text in pip_section():
        requirement = Requirement(text) if not text.startswith("-e") else None
        if requirement is not None and requirement.name == "pynq":
            assert requirement.marker is not None
            assert requirement.marker.evaluate({"platform_machine": "armv7l"})
            assert not requirement.marker.evaluate({"platform_machine": "x86_64"})
            return
    pytest.fail("environment.yml does not name pynq")


@pytest.mark.slow
def test_the_conda_environments_pip_section_resolves(tmp_path: Path) -> None:
    """A dry run: pip resolves the whole section, installed packages aside, and installs nothing."""
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("\n".join(pip_section()).replace("-e .", f"-e {REPOSITORY}") + "\n")
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--no-build-isolation"]
    result = subprocess.run([*command, "-r", str(requirements)], capture_output=True, text=True, timeout=400)
    assert result.returncode == 0, result.stderr[-2000:]
    would_install = result.stdout.rsplit("Would install", 1)[-1]
    assert "finn-plus-1.6.1" in would_install and "brevitas-0.13.0" in would_install
    assert "pynq" not in would_install
