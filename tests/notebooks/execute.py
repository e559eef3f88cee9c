"""Executes one notebook in this Python's kernel, without changing the file, and writes it with its outputs.

Python 3.10 with the real pynq (requirements/board.sh), which has nbclient and ipykernel:

    python -m tests.notebooks.execute NOTEBOOK RESULT FOLDER [PROBE]

FOLDER is the working directory; code of the file PROBE runs behind the last cell and is not kept. The exit code is 1
where a cell raised, and the traceback is printed.
"""

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

CELL_SECONDS = 300


def execute(notebook: Path, result: Path, folder: Path, probe: str | None) -> None:
    """Run all cells; write `result` also where one raised."""
    book = nbformat.read(notebook, as_version=4)
    for cell in book.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    count = len(book.cells)
    if probe is not None:
        book.cells.append(nbformat.v4.new_code_cell(probe))
    client = NotebookClient(
        book,
        timeout=CELL_SECONDS,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
    )
    try:
        client.execute()
    finally:
        del book.cells[count:]
        # The kernel's own version would change with the Python that executed it.
        book.metadata.language_info = {"name": "python"}
        result.write_text(nbformat.writes(book, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    paths = [Path(argument) for argument in sys.argv[1:]]
    try:
        execute(*paths[:3], paths[3].read_text() if len(paths) > 3 else None)
    except CellExecutionError as error:
        sys.exit(str(error))
