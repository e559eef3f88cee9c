import functools
import http.server
import os
import shutil
import tempfile
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from fpga_facedet.errors import UserError
from fpga_facedet.host import sources
from fpga_facedet.host.sources import PHOTOGRAPHS, open_source
from tests.host.conftest import picture


def is_silent(capfd):
    """Whether OpenCV kept its own lines off stderr; FFmpeg inside the board's 4.5.4 says one that nothing stops."""
    said = capfd.readouterr().err
    return said == "" or (cv2.__version__.startswith("4.5.") and said.count("\n") == 1)


def cut(path):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def test_a_folder_gives_its_pictures_by_path_and_nothing_else(folder):
    source = open_source(str(folder))
    frames = list(source)
    assert [frame.name for frame in frames] == ["a.PNG", "b/y.jpeg", "b/z.bmp", "c.jpg"]
    assert [frame.seq for frame in frames] == [0, 1, 2, 3]
    assert all(frame.image.dtype == np.uint8 and frame.image.ndim == 3 for frame in frames)
    assert (source.total, source.live, source.still, source.skipped) == (4, False, True, 0)


def test_a_damaged_picture_of_a_folder_is_left_out_with_one_warning(folder):
    cut(folder / "b/y.jpeg")
    warnings = []
    source = open_source(str(folder), warn=warnings.append)
    assert [(frame.seq, frame.name) for frame in source] == [(0, "a.PNG"), (1, "b/z.bmp"), (2, "c.jpg")]
    assert source.skipped == 1
    assert len(warnings) == 1 and warnings[0].startswith("Left out b/y.jpeg: the JPEG is cut short at ")


def test_a_loop_goes_on_counting_and_warns_once(folder):
    cut(folder / "c.jpg")
    warnings = []
    source = open_source(str(folder), loop=True, warn=warnings.append)
    frames = [frame for frame, _ in zip(source, range(8), strict=False)]
    assert [frame.seq for frame in frames] == list(range(8))
    assert [frame.name for frame in frames[3:6]] == ["a.PNG", "b/y.jpeg", "b/z.bmp"]
    assert source.total is None and len(warnings) == 1 and source.skipped == 1


@pytest.fixture
def shut_folder(folder):
    """The folder of pictures with `b` shut even to us, who may be root, where everyone else may go in."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name, "pictures")
        shutil.copytree(folder, place)
        Path(name).chmod(0o755)
        (place / "b").chmod(0)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)
        yield place
        os.seteuid(user)
        place.chmod(0o755)
        (place / "b").chmod(0o755)


def test_a_folder_inside_that_cannot_be_read_is_left_out_with_one_warning(shut_folder):
    warnings = []
    source = open_source(str(shut_folder), warn=warnings.append)
    assert [frame.name for frame in source] == ["a.PNG", "c.jpg"]
    assert source.skipped == 1 and warnings == ["Left out the folder b: permission denied."]


def test_a_folder_that_cannot_be_read_is_an_error(shut_folder):
    with pytest.raises(UserError, match=r"Cannot read the folder .*pictures/b: permission denied; change"):
        open_source(str(shut_folder / "b"))


def test_an_empty_source_is_an_error_and_not_the_current_folder(folder, monkeypatch):
    monkeypatch.chdir(folder)
    with pytest.raises(UserError, match="The source is empty; give"):
        open_source("")


def test_one_damaged_picture_alone_is_an_error(folder):
    cut(folder / "c.jpg")
    with pytest.raises(UserError, match=r"c\.jpg: the JPEG is cut short"):
        list(open_source(str(folder / "c.jpg")))


def test_a_folder_where_all_are_damaged_is_an_error(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"")
    with pytest.raises(UserError, match=r"No picture of .* can be read \(1 left out\)"):
        list(open_source(str(tmp_path), loop=True, warn=lambda text: None))


def test_a_folder_without_pictures_is_an_error(tmp_path):
    with pytest.raises(UserError, match="holds no pictures"):
        open_source(str(tmp_path))


def test_a_video_gives_every_frame_and_its_rate(video):
    source = open_source(str(video))
    frames = list(source)
    assert [frame.seq for frame in frames] == list(range(30))
    assert (source.total, source.rate, source.live, source.still) == (30, 25.0, False, False)
    assert {frame.name for frame in frames} == {"moving.avi"}
    np.testing.assert_allclose(frames[7].image.astype(int), picture(7), atol=24)
    assert frames[0].captured_at <= frames[-1].captured_at <= time.time()


def test_a_looped_video_starts_at_its_first_frame_again(video):
    source = open_source(str(video), loop=True)
    frames = [frame for frame, _ in zip(source, range(61), strict=False)]
    source.close()
    np.testing.assert_array_equal(frames[30].image, frames[0].image)
    np.testing.assert_array_equal(frames[60].image, frames[0].image)
    assert frames[60].seq == 60


def test_a_video_that_ends_early_is_told(video):
    data = video.read_bytes()
    video.write_bytes(data[: len(data) * 2 // 3])
    warnings = []
    frames = list(open_source(str(video), warn=warnings.append))
    assert 5 < len(frames) < 30
    assert warnings == [f"moving.avi ended after {len(frames)} of its 30 frames; the file may be damaged."]


@pytest.mark.parametrize("content", [b"", b"just text\n" * 100, bytes(range(256)) * 40])
def test_a_file_of_nothing_known_is_an_error(tmp_path, capfd, content):
    path = tmp_path / "thing.mp4"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"thing\.mp4 is neither a picture nor a video"):
        open_source(str(path))
    assert is_silent(capfd)


def test_a_picture_without_its_suffix_is_still_one(tmp_path):
    path = tmp_path / "upload"
    path.write_bytes(cv2.imencode(".jpg", picture(1))[1].tobytes())
    assert [frame.name for frame in open_source(str(path))] == ["upload"]


@pytest.mark.parametrize("text", ["7", "camera:7"])
def test_an_absent_camera_is_an_error(capfd, text):
    with pytest.raises(UserError, match="There is no camera 7"):
        open_source(text)
    assert is_silent(capfd)


@pytest.mark.parametrize("scheme", ["http", "rtsp"])
def test_a_refused_address_is_an_error_without_its_password(capfd, scheme):
    with pytest.raises(UserError, match="No video comes from") as raised:
        open_source(f"{scheme}://admin:secret@127.0.0.1:9/video")
    assert "secret" not in str(raised.value) and "127.0.0.1:9/video" in str(raised.value)
    assert is_silent(capfd)


def test_a_video_over_http_is_read_to_its_end(video):
    quiet = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *args: None})
    serve_folder = functools.partial(quiet, directory=str(video.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve_folder) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        source = open_source(f"http://127.0.0.1:{web.server_port}/moving.avi")
        assert not source.live and source.total == 30
        assert len(list(source)) == 30
        web.shutdown()


class MjpegCamera(http.server.BaseHTTPRequestHandler):
    """What an IP camera does: JPEGs one after another, 25 a second; this one dies after 40."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        for seed in range(40):
            jpeg = cv2.imencode(".jpg", picture(seed))[1].tobytes()
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            self.wfile.write(head.encode() + jpeg + b"\r\n")
            time.sleep(0.02)

    def log_message(self, *args):
        pass


def test_a_camera_over_http_is_live_and_its_end_is_an_error():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), MjpegCamera) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        source = open_source(f"http://127.0.0.1:{web.server_port}/stream.mjpg")
        assert source.live and source.total is None and not source.still
        frames = []
        with pytest.raises(UserError, match=r"stopped delivering after \d+ frames; check the device or the network"):
            frames.extend(iter(source))
        web.shutdown()


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_the_photographs_of_installed_packages_are_there(name):
    module, install, _ = PHOTOGRAPHS[name]
    pytest.importorskip(module, reason=f"the photograph comes with {install}")
    (frame,) = open_source(name)
    assert frame.name == name and frame.image.shape[2] == 3


def test_the_astronaut_is_scikit_images(astronaut_bgr):
    (frame,) = open_source("astronaut")
    np.testing.assert_array_equal(frame.image, astronaut_bgr)


def test_a_photograph_whose_package_is_absent_names_it(monkeypatch):
    monkeypatch.setitem(sources.PHOTOGRAPHS, "astronaut", ("no_such_module", "scikit-image", "data/astronaut.png"))
    with pytest.raises(UserError, match=r"pip install scikit-image"):
        open_source("astronaut")


def test_a_photograph_that_the_system_keeps_beside_its_package(tmp_path, monkeypatch):
    """As Debian's python3-matplotlib does, which the boards' images have: the data lies in /usr/share/matplotlib."""
    picture = tmp_path / "matplotlib" / "mpl-data" / "sample_data" / "grace_hopper.jpg"
    picture.parent.mkdir(parents=True)
    assert cv2.imwrite(str(picture), np.full((40, 30, 3), 200, np.uint8))
    monkeypatch.setattr(sources.importlib.util, "find_spec", lambda module: None)
    monkeypatch.setattr(sources, "SYSTEM_DATA", tmp_path)
    (frame,) = sources.open_source("grace_hopper")
    assert frame.image.shape == (40, 30, 3)


def test_a_file_wins_over_a_photograph_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("coffee.png", picture(1))
    (tmp_path / "coffee.png").rename(tmp_path / "coffee")
    (frame,) = open_source("coffee")
    assert frame.image.shape == (90, 120, 3)


def test_a_name_that_no_file_can_have_is_an_error():
    with pytest.raises(UserError, match="Cannot read the source"):
        open_source("x" * 5000)


def test_a_source_that_is_not_there_says_what_would_do():
    with pytest.raises(UserError, match="There is no source 'nowhere'; give a picture, folder or video"):
        open_source("nowhere")
