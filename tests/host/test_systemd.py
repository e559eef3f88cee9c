"""The unit that is installed on a board: known to systemd, and its command known to the program."""

import configparser
import re
import shutil
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY

UNIT = REPOSITORY / "systemd" / "facedet.service"
ENVIRONMENT = REPOSITORY / "systemd" / "facedet.env"


def read_unit():
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str
    parser.read_string(UNIT.read_text())
    return parser


def test_systemd_itself_finds_no_fault():
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("needs systemd-analyze (Debian's package systemd)")
    result = subprocess.run([analyze, "verify", str(UNIT)], capture_output=True, text=True)
    assert result.returncode == 0 and "facedet.service" not in result.stderr, result.stderr


def test_the_service_is_watched_and_restarts_are_bounded():
    unit, service = read_unit()["Unit"], read_unit()["Service"]
    assert (service["Type"], service["Restart"], service["User"]) == ("notify", "on-failure", "root")
    assert int(unit["StartLimitBurst"]) * int(service["RestartSec"]) < int(unit["StartLimitIntervalSec"])


def test_the_watchdogs_time_leaves_the_program_its_own_remedies():
    from fpga_facedet.host.pipeline import STOP_SECONDS
    from fpga_facedet.host.stopping import CLOSE_SECONDS
    from fpga_facedet.host.watchdog import STALL_SECONDS

    service = read_unit()["Service"]
    assert int(service["WatchdogSec"]) > STALL_SECONDS + STOP_SECONDS + CLOSE_SECONDS
    assert int(service["TimeoutStopSec"]) > STOP_SECONDS + CLOSE_SECONDS + 1


def test_every_variable_of_the_command_is_in_the_environment_file():
    used = set(re.findall(r"\$\$(FACEDET_\w+)", UNIT.read_text()))
    said = set(re.findall(r"^(FACEDET_\w+)=", ENVIRONMENT.read_text(), re.M))
    assert used == said and len(used) == 5


def test_the_command_has_the_options_that_the_unit_gives():
    command = read_unit()["Service"]["ExecStart"]
    assert "exec facedet serve --engine board " in command
    help_text = subprocess.run(
        [sys.executable, "-m", "fpga_facedet", "serve", "--help"],
        capture_output=True,
        text=True,
        env={"COLUMNS": "200", "PATH": "/usr/bin:/bin"},
        check=True,
    ).stdout
    for option in re.findall(r"(--[a-z-]+)", command):
        assert option in help_text, option


@pytest.mark.parametrize("overlay", ["", "/home/xilinx/my overlays/pynq-z2/lpyolo-4w4a"])
def test_bash_makes_the_command_that_is_meant(tmp_path, overlay):
    """The line as systemd gives it to bash, dollars halved, with a `facedet` that says its words."""
    (said,) = re.findall(r"-c '(.*)'$", read_unit()["Service"]["ExecStart"])
    program = tmp_path / "facedet"
    program.write_text('#!/bin/sh\nfor word in "$@"; do echo "$word"; done\n')
    program.chmod(0o755)
    values = dict(re.findall(r"^(FACEDET_\w+)=(.*)$", ENVIRONMENT.read_text(), re.M))
    assert values["FACEDET_ACCELERATOR"] == "", "as it comes, the overlay is found, not named"
    values.update(FACEDET_ACCELERATOR=overlay, FACEDET_SOURCE="rtsp://a b/c", FACEDET_OPTIONS="--min-score 0.4")
    line = said.replace("$$", "$").replace("/etc/profile.d/*.sh", str(tmp_path / "*.none"))
    line = line.replace('. "$file"', '[ ! -e "$file" ] || . "$file"')
    output = subprocess.run(
        ["/bin/bash", "-c", line], env={"PATH": f"{tmp_path}:/usr/bin:/bin", **values}, capture_output=True, text=True
    )
    assert output.stderr == ""
    assert output.stdout.split("\n")[:-1] == [
        *("serve", "--engine", "board", *(["--accelerator", overlay] if overlay else [])),
        *("--source", "rtsp://a b/c", "--host", "0.0.0.0", "--port", "5566", "--min-score", "0.4"),
    ]
