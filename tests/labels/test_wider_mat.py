from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import loadmat, savemat

from fpga_facedet.errors import UserError
from fpga_facedet.labels.wider_mat import WiderMatFolder, read_wider_mat

SIDE = st.integers(1, 3000)
ROW = st.tuples(SIDE, SIDE, SIDE, SIDE, st.sampled_from([0, 1]))


def cells(values: list) -> np.ndarray:
    """A column of Matlab cells."""
    out = np.empty((len(values), 1), object)
    for index, value in enumerate(values):
        out[index, 0] = value
    return out


def write(path: Path, events: dict[str, dict[str, list]], compressed: bool = False) -> None:
    def boxes(rows: list) -> np.ndarray:
        return np.array([row[:4] for row in rows], np.float64).reshape(-1, 4)

    def flags(rows: list) -> np.ndarray:
        return np.array([row[4] for row in rows], np.uint8).reshape(-1, 1)

    savemat(
        path,
        {
            "event_list": cells(list(events)),
            "file_list": cells([cells(list(pictures)) for pictures in events.values()]),
            "face_bbx_list": cells([cells([boxes(r) for r in pictures.values()]) for pictures in events.values()]),
            "invalid_label_list": cells([cells([flags(r) for r in pictures.values()]) for pictures in events.values()]),
        },
        do_compression=compressed,
    )


@settings(max_examples=25)
@given(st.lists(st.lists(ROW, min_size=1, max_size=3), min_size=1, max_size=3))
def test_boxes_come_back_as_written(tmp_path_factory: pytest.TempPathFactory, pictures: list) -> None:
    path = tmp_path_factory.mktemp("wider") / "wider_face_train.mat"
    write(path, {"0--Parade": {f"p{i}": rows for i, rows in enumerate(pictures)}, "1--Handshaking": {"q": pictures[0]}})
    read = list(read_wider_mat(path))
    assert [p.path for p in read] == [*(f"0--Parade/p{i}.jpg" for i in range(len(pictures))), "1--Handshaking/q.jpg"]
    for picture, rows in zip(read, [*pictures, pictures[0]], strict=True):
        for boxes, invalid in ((picture.faces, 0), (picture.ignored, 1)):
            wanted = [(x, y, x + w, y + h) for x, y, w, h, flag in rows if flag == invalid]
            np.testing.assert_array_equal(boxes, np.array(wanted, np.float32).reshape(-1, 4))


def test_the_folder_finds_its_pictures(tmp_path: Path) -> None:
    write(tmp_path / "wider_face_val.mat", {"0--Parade": {"a": [(1, 2, 3, 4, 0)]}})
    (tmp_path / "WIDER_val" / "images" / "0--Parade").mkdir(parents=True)
    (tmp_path / "WIDER_val" / "images" / "0--Parade" / "a.jpg").touch()
    source = WiderMatFolder(tmp_path)
    assert source.splits == ("val",)
    assert source.read("val")[0][0].path == "WIDER_val/images/0--Parade/a.jpg"


def test_wrong_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "wider_face_train.mat"
    with pytest.raises(UserError, match="Cannot read WIDER's labels"):
        list(read_wider_mat(path))
    path.write_bytes(b"not Matlab at all" * 40)
    with pytest.raises(UserError, match=r"wider_face_train\.mat is not a whole Matlab file"):
        list(read_wider_mat(path))
    savemat(path, {"event_list": [1]})
    with pytest.raises(UserError, match=r"lacks WIDER's lists \(face_bbx_list, file_list\)"):
        list(read_wider_mat(path))
    write(path, {"0--Parade": {"a": [(1, 2, 3, 4, 0)]}})
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"wider_face_train\.mat is not a whole Matlab file"):
        list(read_wider_mat(path))


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("event_list", np.zeros((1, 1))),
        ("file_list", np.zeros((1, 1))),
        ("file_list", cells([np.zeros((0, 0))])),
        ("file_list", cells([np.zeros((1, 1))])),
    ],
)
def test_lists_that_are_not_widers_are_named(tmp_path: Path, name: str, wrong: np.ndarray) -> None:
    path = tmp_path / "wider_face_train.mat"
    write(path, {"0--Parade": {"a": [(1, 2, 3, 4, 0)]}})
    content = {key: value for key, value in loadmat(path).items() if not key.startswith("__")}
    savemat(path, content | {name: wrong})
    with pytest.raises(UserError, match=r"wider_face_train\.mat are not WIDER's"):
        list(read_wider_mat(path))


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_a_damaged_byte_does_not_reach_the_parser(tmp_path: Path, share: float) -> None:
    """scipy's parser may crash the process over damaged content; the check sums are looked at before."""
    path = tmp_path / "wider_face_train.mat"
    pictures = {f"p{i}": [(i + 1, j + 1, 3 * i + 1, 4, 0) for j in range(20)] for i in range(20)}
    write(path, {"0--Parade": pictures}, compressed=True)
    content = bytearray(path.read_bytes())
    content[128 + int((len(content) - 128) * share)] ^= 16
    path.write_bytes(content)
    with pytest.raises(UserError, match="is not a whole Matlab file"):
        list(read_wider_mat(path))


def test_a_wrong_box_is_named_by_its_picture(tmp_path: Path) -> None:
    path = tmp_path / "wider_face_train.mat"
    write(path, {"0--Parade": {"a": [(1, 2, 3, 4, 0)], "b": [(1, 2, np.inf, 4, 0)]}})
    with pytest.raises(UserError, match=r"wider_face_train\.mat: a box of '0--Parade/b\.jpg'"):
        list(read_wider_mat(path))


def test_the_official_file_is_read_whole(shared_dir: Path) -> None:
    read = list(read_wider_mat(shared_dir / "data" / "wider_official" / "wider_face_val.mat"))
    assert len(read) == 3226
    # 39,708 rows; four are the zeros that stand for no face.
    assert sum(len(p.faces) + len(p.ignored) for p in read) == 39704
    odd = next(p for p in read if p.path.endswith("39_Ice_Skating_iceskiing_39_583.jpg"))
    assert [1026, 474, 1024, 497] in odd.ignored.tolist()
