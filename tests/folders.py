"""What lies in a folder."""

from pathlib import Path


def contents(folder: Path, without: str | None = None) -> dict[str, bytes]:
    """Return every file in `folder` by its path in there, but those in folders called `without`."""
    files = [path for path in folder.rglob("*") if path.is_file() and without not in path.relative_to(folder).parts]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
