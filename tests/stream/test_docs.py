"""docs/stream.md is what people write their clients from: its examples are run."""

import json
import re
import subprocess
import sys

import pytest

from fpga_facedet.stream.protocol import STAGE_TIMES, end_line, metrics_line, parse_line
from tests.conftest import REPOSITORY
from tests.stream.conftest import HELLO, Watcher, line

TEXT = (REPOSITORY / "docs" / "stream.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^\{.*\}$", TEXT, re.M)


@pytest.mark.parametrize("kind", ["hello", "frame", "end"])
def test_the_examples_have_the_fields_that_are_sent(kind):
    sent = json.loads({"hello": HELLO, "frame": line(0), "end": end_line(2, "finished")}[kind])
    shown = [message for message in map(json.loads, EXAMPLES) if message["type"] == kind]
    assert shown and all(list(message) == list(sent) for message in shown)
    assert all(parse_line(json.dumps(message).encode(), "docs") for message in shown)


def test_the_metrics_of_the_example_have_the_fields_that_the_host_sends():
    from fpga_facedet.host.metrics import STAGES, Recorder

    recorder = Recorder()
    recorder.start(1.0)
    recorder.time("capture", 0.001)
    sent = json.loads(metrics_line(1.0, "golden", "street.mp4", 1, recorder.metrics(2.0).to_dict()))
    (shown,) = [message for message in map(json.loads, EXAMPLES) if message["type"] == "metrics"]
    assert list(shown) == list(sent)
    assert list(shown["stages"]["capture"]) == list(sent["stages"]["capture"]) == list(STAGE_TIMES)
    assert parse_line(json.dumps(shown).encode(), "docs")
    for field in (*sent, *STAGES, *STAGE_TIMES):
        assert f"`{field}`" in TEXT


def test_the_ten_line_client_runs(start):
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.S)
    server = start()
    client = subprocess.Popen(
        [sys.executable, "-c", code.replace("5566", str(server.port))], stdout=subprocess.PIPE, text=True
    )
    server.wait_for_watchers(1)
    server.publish(line(4))
    server.publish(line(5, faces=0))
    server.close()
    output, _ = client.communicate(timeout=20)
    assert client.returncode == 0 and output == "frame 4: face 0.50 at (0, 1), 2 wide\n"


def test_what_nc_shows_is_the_lines_themselves(start):
    server = start()
    nc = Watcher(server.port)
    server.wait_for_watchers(1)
    server.publish(line(0))
    server.close()
    assert nc.socket.makefile("rb").read() == HELLO + line(0) + end_line(1, "finished")
    nc.socket.close()
