"""Pascal VOC folders: `Annotations/*.xml`, `JPEGImages/` and, where splits are kept apart, `ImageSets/Main/*.txt`.

Corners are taken as written. The original VOC counts pixels from 1, today's labelling tools from 0: half a pixel.
"""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from xml.etree import ElementTree
from xml.parsers import expat

from fpga_facedet.errors import UserError
from fpga_facedet.labels.record import (
    FACE,
    TRAIN,
    VAL,
    LabelledPicture,
    box_array,
    choose_class,
    finite,
    is_picture,
    read_lines,
    relative_to,
)

_IGNORING = ("difficult", "ignore")
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_PICTURE_FOLDERS = ("JPEGImages", "images", ".")


class VocFolder:
    """A folder of Pascal VOC; an object marked `difficult` or `ignore` is ignored."""

    format = "Pascal VOC"
    looked_for = "Annotations/*.xml"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.annotations = folder / "Annotations"
        self.lists = _find_lists(folder / "ImageSets" / "Main")
        found = any(self.annotations.glob("*.xml")) or (self.annotations.is_dir() and bool(self.lists))
        self.splits: tuple[str, ...] = (tuple(self.lists) or (TRAIN,)) if found else ()

    def read(self, split: str) -> tuple[list[LabelledPicture], list[str]]:
        """See `LabelSource.read`."""
        # What counts as a face is the same in both splits, so both are read.
        names = sorted({name for part in self._documents.values() for d in part.values() for name, *_ in d.objects})
        numbers, remark = choose_class(dict(enumerate(names)))
        chosen = names if numbers is None else [names[number] for number in numbers]
        pictures = self._pictures()
        read = [self._picture(stem, document, pictures, chosen) for stem, document in self._documents[split].items()]
        return read, [remark] if remark and names else []

    @cached_property
    def _documents(self) -> dict[str, dict[str, "_Document"]]:
        return {s: {stem: _Document(path) for stem, path in self._files(s).items()} for s in self.splits}

    def _files(self, split: str) -> dict[str, Path]:
        if split not in self.lists:
            return {path.stem: path for path in sorted(self.annotations.glob("*.xml"))}
        lines = read_lines(self.lists[split])
        stems = [(number, line.split()[0]) for number, line in enumerate(lines, 1) if line.strip()]
        files = {}
        for number, stem in stems:
            files[stem] = self.annotations / f"{stem}.xml"
            if not files[stem].is_file():
                raise UserError(
                    f"{self.lists[split]}, line {number}: '{stem}' has no file {files[stem]}; add it or take it out."
                )
        return files

    def _pictures(self) -> Mapping[str, Path]:
        """Return the pictures by their path without suffix, as VOC's lists name them."""
        found: dict[str, Path] = {}
        for place in reversed(_PICTURE_FOLDERS):
            root = self.folder / place
            files = root.rglob("*") if place != "." else root.glob("*")
            found |= {path.relative_to(root).with_suffix("").as_posix(): path for path in files if is_picture(path)}
        return found

    def _picture(
        self, stem: str, document: "_Document", pictures: Mapping[str, Path], chosen: list[str]
    ) -> LabelledPicture:
        named = Path(document.filename or f"{stem}.jpg")
        path = pictures.get(stem) or pictures.get(named.with_suffix("").as_posix())
        path = path or self.folder / _PICTURE_FOLDERS[0] / named
        objects = [item for item in document.objects if item[0] in chosen]
        return LabelledPicture(
            relative_to(self.folder, path),
            box_array(box for _, box, unsure in objects if not unsure),
            box_array(box for _, box, unsure in objects if unsure),
        )


def _find_lists(folder: Path) -> dict[str, Path]:
    """Return the list of each split; `trainval.txt` stands in for a missing `train.txt`."""
    lists = {split: folder / f"{split}.txt" for split in (TRAIN, VAL)}
    found = {split: path for split, path in lists.items() if path.is_file()}
    both = folder / "trainval.txt"
    return found if found or not both.is_file() else {TRAIN: both}


class _Document:
    """One annotation: `filename`, and `objects` of (class, (x1, y1, x2, y2), whether it is ignored)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines: dict[ElementTree.Element, int] = {}
        root = self._parse()
        self.filename = (root.findtext("filename") or "").strip()
        self.objects = [self._object(element) for element in root.iter("object")]

    def _parse(self) -> ElementTree.Element:
        """Return the root; expat is driven by hand because ElementTree forgets the lines."""
        builder = ElementTree.TreeBuilder()
        parser = expat.ParserCreate()

        def start(tag: str, attributes: dict[str, str]) -> None:
            self._lines[builder.start(tag, attributes)] = parser.CurrentLineNumber

        parser.StartElementHandler = start
        parser.EndElementHandler = builder.end
        parser.CharacterDataHandler = builder.data
        try:
            parser.Parse(self.path.read_bytes(), True)
        except OSError as error:
            raise UserError(f"Cannot read the labels {self.path}: {error.strerror}; check the data folder.") from error
        except expat.ExpatError as error:
            reason = expat.ErrorString(error.code)
            raise UserError(f"{self.path}, line {error.lineno}: this is no XML ({reason}); correct it.") from error
        except (LookupError, ValueError) as error:
            raise UserError(f"{self.path}, line 1: {error}; save the file as UTF-8.") from error
        return builder.close()

    def _object(self, element: ElementTree.Element) -> tuple[str, tuple[float, ...], bool]:
        name = (element.findtext("name") or "").strip() or FACE
        box = element.find("bndbox")
        if box is None:
            raise self._wrong(element, f"object '{name}' has no <bndbox>")
        corners = tuple(self._corner(box, tag) for tag in _CORNERS)
        if corners[0] > corners[2] or corners[1] > corners[3]:
            raise self._wrong(box, f"<bndbox> ends before it begins ({', '.join(f'{c:g}' for c in corners)})")
        return name, corners, any((element.findtext(tag) or "0").strip() not in ("0", "") for tag in _IGNORING)

    def _corner(self, box: ElementTree.Element, tag: str) -> float:
        element = box.find(tag)
        if element is None:
            raise self._wrong(box, f"<bndbox> has no <{tag}>")
        values = finite([(element.text or "").strip()])
        if values is None:
            raise self._wrong(element, f"<{tag}> is '{(element.text or '').strip()}', not a number")
        return values[0]

    def _wrong(self, element: ElementTree.Element, what: str) -> UserError:
        return UserError(f"{self.path}, line {self._lines[element]}: {what}; correct it.")
