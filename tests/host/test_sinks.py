import fcntl
import json
import resource
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

from fpga_facedet.detections import Detections
from fpga_facedet.errors import UserError
from fpga_facedet.host.annotate import annotate
from fpga_facedet.host.jobs import Result
from fpga_facedet.host.sinks import AnnotatedSink, JsonLinesSink, check_annotated_folder, is_stdout
from fpga_facedet.host.sources import Frame, open_source
from tests.conftest import REPOSITORY
from tests.host.conftest import picture

FACES = Detections(
    np.array([[1.234567, 2.0, 30.996, 44.004], [0, 0, 10.5, 14]], np.float32),
    np.array([0.8750152587890625, 0.875], np.float32),
)


def result(seq=0, name="b/z.png"):
    return Result(Frame(seq, 1.5, picture(seq), name), FACES)


@contextmanager
def no_room():
    """A file size limit of 64 KiB for this process: writes past it fail as on a full disk.

    Not longer than for what is tested: pytest's own log may be a file, and longer than that.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


def test_a_line_has_exactly_the_fields_others_rely_on(tmp_path):
    sink = JsonLinesSink(tmp_path / "faces.jsonl", still=True)
    sink.send(result())
    sink.close(complete=True)
    assert (tmp_path / "faces.jsonl").read_text() == (
        '{"source": "b/z.png", "width": 120, "height": 90, "faces": '
        '[{"box": [1.23, 2.0, 31.0, 44.0], "score": 0.87502}, {"box": [0.0, 0.0, 10.5, 14.0], "score": 0.875}]}\n'
    )
    assert [path.name for path in tmp_path.iterdir()] == ["faces.jsonl"]


def test_frames_of_a_video_have_their_number(tmp_path):
    sink = JsonLinesSink(tmp_path / "faces.jsonl", still=False)
    sink.send(result(7, "street.mp4"))
    sink.close(complete=True)
    assert json.loads((tmp_path / "faces.jsonl").read_text())["frame"] == 7


def test_a_stopped_run_leaves_its_part_and_the_file_before_it(tmp_path):
    path = tmp_path / "faces.jsonl"
    path.write_text("of an earlier run\n")
    sink = JsonLinesSink(path, still=True)
    sink.send(result())
    assert (tmp_path / "faces.jsonl.part").read_text().count("\n") == 1, "each line is with the system at once"
    sink.close(complete=False)
    assert path.read_text() == "of an earlier run\n"
    assert json.loads((tmp_path / "faces.jsonl.part").read_text())["source"] == "b/z.png"


def test_two_runs_never_write_the_same_file(tmp_path):
    path = tmp_path / "faces.jsonl"
    first = JsonLinesSink(path, still=True)
    first.send(result())
    with pytest.raises(UserError, match=r"Another run is writing .*faces\.jsonl\.part; wait for its end, or choose"):
        JsonLinesSink(path, still=True)
    first.send(result(1))
    first.close(complete=True)
    assert path.read_text().count("\n") == 2, "what the second did not get must stay the first's"
    again = JsonLinesSink(path, still=True)
    again.send(result())
    again.close(complete=False)
    third = JsonLinesSink(path, still=True)
    third.close(complete=True)
    assert path.read_text() == "" and [entry.name for entry in tmp_path.iterdir()] == ["faces.jsonl"]


def test_another_process_that_writes_the_file_is_noticed_and_one_that_was_killed_is_not(tmp_path):
    code = (
        "import sys, time\nfrom fpga_facedet.host.sinks import JsonLinesSink\n"
        "sink = JsonLinesSink(sys.argv[1], True); print('open', flush=True); time.sleep(60)"
    )
    path = tmp_path / "faces.jsonl"
    other = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None and other.stdout.readline() == "open\n"
    with pytest.raises(UserError, match="Another run is writing"):
        JsonLinesSink(path, still=True)
    other.kill()
    other.communicate()
    JsonLinesSink(path, still=True).close(complete=True)


def test_a_run_that_ends_while_the_next_one_opens_keeps_its_lines(tmp_path, monkeypatch):
    """The first renames its `.part` after the second has opened it, before that has its lock."""
    path, part = tmp_path / "faces.jsonl", tmp_path / "faces.jsonl.part"
    part.write_text("of the first run\n")
    flock = fcntl.flock

    def late(file, how):
        if not path.exists():
            part.replace(path)
        flock(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    sink = JsonLinesSink(path, still=True)
    sink.send(result())
    sink.close(complete=False)
    assert path.read_text() == "of the first run\n" and part.read_text().count("b/z.png") == 1


@pytest.mark.parametrize("target", ["-", "/dev/stdout", "redirected"])
def test_lines_for_standard_output_go_there_wherever_it_leads(tmp_path, target):
    code = (
        "import sys\nfrom tests.host.test_sinks import result\n"
        "from fpga_facedet.host.sinks import JsonLinesSink, is_stdout\n"
        "sink = JsonLinesSink(sys.argv[1], True); sink.send(result()); sink.close(True)\n"
        "print(is_stdout(sys.argv[1]), sink.place)"
    )
    output = tmp_path / "redirected"
    with open(output, "wb") as file:
        name = str(output) if target == "redirected" else target
        subprocess.run([sys.executable, "-c", code, name], stdout=file, cwd=REPOSITORY, check=True)
    lines = output.read_text().splitlines()
    assert json.loads(lines[0])["source"] == "b/z.png" and lines[1:] == ["True standard output"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["redirected"]


def test_a_file_is_not_standard_output(tmp_path):
    assert not is_stdout(tmp_path / "faces.jsonl") and not is_stdout(tmp_path)


def test_a_full_device_is_an_error_in_one_sentence():
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full, which Linux has")
    sink = JsonLinesSink("/dev/full", still=True)
    with pytest.raises(UserError, match="the disk is full"):
        sink.send(result())
    sink.close(complete=False)


def test_a_disk_that_fills_up_keeps_the_lines_before(tmp_path):
    sink = JsonLinesSink(tmp_path / "faces.jsonl", still=True)
    with no_room(), pytest.raises(UserError, match=r"faces\.jsonl: the disk is full"):
        for seq in range(10_000):
            sink.send(result(seq))
    sink.close(complete=False)
    lines = (tmp_path / "faces.jsonl.part").read_text().split("\n")
    assert len(lines) > 100 and all(json.loads(line)["source"] == "b/z.png" for line in lines[:-1])
    assert not (tmp_path / "faces.jsonl").exists()


def test_an_annotated_picture_on_a_full_disk_is_an_error_and_leaves_nothing(tmp_path):
    noise = np.random.default_rng(1).integers(0, 256, (300, 300, 3)).astype(np.uint8)
    with no_room(), pytest.raises(UserError, match="the disk is full"):
        AnnotatedSink(tmp_path, still=True).send(Result(Frame(0, 0.0, noise, "noise.png"), FACES))
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_an_error_before_the_run(tmp_path):
    with pytest.raises(UserError, match="is a directory"):
        JsonLinesSink(tmp_path, still=True)
    with pytest.raises(UserError, match=r"Cannot save .*faces\.jsonl"):
        JsonLinesSink("/proc/nowhere/faces.jsonl", still=True)


def test_annotated_pictures_keep_their_names_and_folders(tmp_path):
    sink = AnnotatedSink(tmp_path, still=True)
    sink.send(result())
    sink.send(result(1, "astronaut"))
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "b/z.png")), annotate(picture(0), FACES))
    assert (tmp_path / "astronaut.png").is_file()


@pytest.mark.parametrize("name", ["street.mp4", "camera:0", "rtsp://10.0.0.2/live/../../x"])
def test_annotated_frames_of_a_video_are_numbered_files_in_the_folder(tmp_path, name):
    path = AnnotatedSink(tmp_path, still=False).path_of(result(12, name))
    assert path.parent == tmp_path and path.name.endswith("-000012.jpg")


def test_annotated_pictures_never_go_among_the_sources(folder, tmp_path):
    source = open_source(str(folder))
    for bad in (folder, folder / "b", folder / "new"):
        with pytest.raises(UserError, match="would mix with those of the source"):
            check_annotated_folder(bad, str(folder), source)
    check_annotated_folder(tmp_path / "out", str(folder), source)
    with pytest.raises(UserError, match="would mix"):
        check_annotated_folder(folder, str(folder / "c.jpg"), open_source(str(folder / "c.jpg")))
    check_annotated_folder(folder / "out", str(folder / "c.jpg"), open_source(str(folder / "c.jpg")))
