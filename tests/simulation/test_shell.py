"""The simulator of a whole overlay: what it takes, what it gives back, and that it tells what breaks."""

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from fpga_facedet import shell
from fpga_facedet.compiler.overlay_top import write_overlay_top
from fpga_facedet.errors import InternalError, UserError
from fpga_facedet.simulation.shell import DRIVER, SimulatedShell, compile_shell
from fpga_facedet.simulation.verilator import EXECUTABLE, SimulationError, build_model

from ..board_python import PYNQS, board_python
from ..conftest import REPOSITORY
from ..rtl.shell_cores import Core, packets, simulate

CORE = Core(lanes_out=6)


def frames_of(rng: np.random.Generator, count: int) -> list[bytes]:
    return [frame.tobytes() for frame in CORE.frames(rng, count)]


def test_a_packet_is_sent_and_received_in_pieces(rng: np.random.Generator) -> None:
    frame = CORE.frames(rng, 1)[0]
    data = frame.tobytes()
    with simulate(CORE).start() as process:
        process.send(data[:48], last=False)
        process.send(b"", last=False)
        process.send(data[48:])
        assert process.receive(1000) == (b"", False)
        assert not process.run_until_output(20)
        assert process.run_until_output(1000)
        pieces = [process.receive(most) for most in (0, 7, 16, 23, 1000, 1000)]
        assert [len(piece) for piece, _ in pieces] == [0, 0, 16, 16, 80, 0]
        assert [ended for _, ended in pieces] == [False, False, False, False, True, False]
        assert b"".join(piece for piece, _ in pieces) == CORE.result(frame)


def test_an_output_that_is_not_ready_holds_everything_up(rng: np.random.Generator) -> None:
    with simulate(CORE).start() as process:
        process.output_ready(False)
        for frame in frames_of(rng, 4):
            process.send(frame)
        assert not process.run_until_output(5000)
        assert process.receive(1000) == (b"", False)
        assert process.read(shell.REG_FRAMES_IN) < 4
        process.output_ready(True)
        assert len(packets(process, 4)) == 4


def test_time_passes_only_when_asked_to(rng: np.random.Generator) -> None:
    with simulate(CORE).start() as process:
        before = process.read(shell.REG_CYCLES_LOW)
        process.send(frames_of(rng, 1)[0])
        process.receive(10)
        process.pause(0.5, 0.5)
        process.flush_input()
        process.output_ready(True)
        passed = process.read(shell.REG_CYCLES_LOW) - before
        process.step(1000)
        assert process.read(shell.REG_CYCLES_LOW) - before == 1000 + 2 * passed
        assert passed < 5


def test_reset_forgets_what_was_queued(rng: np.random.Generator) -> None:
    first, second = CORE.frames(rng, 2)
    with simulate(CORE).start() as process:
        process.send(first.tobytes())
        process.step(300)
        process.send(first.tobytes())
        process.reset()
        assert not process.run_until_output(1000)
        process.send(second.tobytes())
        assert packets(process, 1) == [CORE.result(second)]
        assert process.read(shell.REG_FRAMES_IN) == 1


def test_threads_may_share_a_process() -> None:
    with simulate(CORE).start() as process:
        wrong: list[int] = []

        def read(register: int, value: int) -> None:
            wrong.extend(found for _ in range(300) if (found := process.read(register)) != value)

        known = [(shell.REG_ID, shell.ID), (shell.REG_FRAME_PIXELS, 24), (shell.REG_OUTPUT_BYTES, 108)]
        threads = [threading.Thread(target=read, args=pair) for pair in known]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []


def test_a_second_build_finds_the_first(tmp_path: Path) -> None:
    folder = CORE.write(tmp_path / "core")
    said: list[str] = []
    first = compile_shell(folder, tmp_path / "simulator", lambda what, share: said.append(what))
    assert any("translating" in what for what in said)
    said.clear()
    assert compile_shell(folder, tmp_path / "simulator", lambda what, share: said.append(what)) == first
    assert said == []


def test_accelerators_may_share_a_folder_of_simulators(tmp_path: Path, rng: np.random.Generator) -> None:
    """Their sources and memories stay apart, and what was built first still runs."""
    folder = tmp_path / "simulator"
    cores = [CORE, Core(lanes_out=3)]
    built = [compile_shell(core.write(tmp_path / str(index)), folder) for index, core in enumerate(cores)]
    assert built[0].data_dir != built[1].data_dir and built[0].executable != built[1].executable
    for core, simulated in zip(cores, built, strict=True):
        frame = core.frames(rng, 1)[0]
        with simulated.start() as process:
            process.send(frame.tobytes())
            assert packets(process, 1) == [core.result(frame)]


def test_runs_where_only_the_executable_and_its_data_are(tmp_path: Path, rng: np.random.Generator) -> None:
    built = simulate(CORE)
    (tmp_path / "data").mkdir()
    moved = SimulatedShell(Path(shutil.copy(built.executable, tmp_path / "moved")), tmp_path / "data")
    frame = CORE.frames(rng, 1)[0]
    with moved.start() as process:
        process.send(frame.tobytes())
        assert packets(process, 1) == [CORE.result(frame)]
    with pytest.raises(UserError, match=r"Cannot start .*nowhere: No such file"):
        SimulatedShell(tmp_path / "nowhere", tmp_path).start()


@pytest.mark.parametrize("version", PYNQS)
def test_runs_in_the_boards_python(version: str) -> None:
    python = board_python(version)
    built = simulate(CORE)
    code = (
        "import sys; sys.modules['verilator'] = None\n"
        "from pathlib import Path\n"
        "from fpga_facedet.simulation.shell import SimulatedShell\n"
        f"process = SimulatedShell(Path({str(built.executable)!r}), Path({str(built.data_dir)!r})).start()\n"
        "process.send(bytes(96)); assert process.run_until_output(1000); print(len(process.receive(1000)[0]))\n"
        "print(sys.version_info[:2]); process.close()\n"
    )
    result = subprocess.run([python, "-c", code], capture_output=True, text=True, cwd=REPOSITORY)
    assert result.stdout == "112\n(3, 10)\n", result.stderr


def test_a_dead_process_says_so_once_and_always(rng: np.random.Generator) -> None:
    process = simulate(CORE).start()
    process._child.kill()
    for _ in range(2):
        with pytest.raises(SimulationError, match="ended with code -9 and said nothing"):
            process.send(bytes(1 << 20))
    process.close()
    process.close()
    with pytest.raises(SimulationError):
        process.read(0)


def test_a_closed_process_is_gone() -> None:
    process = simulate(CORE).start()
    process.close()
    assert process._child.poll() is not None
    with pytest.raises(SimulationError, match="was closed"):
        process.step(1)


def test_it_ends_with_whoever_started_it() -> None:
    built = simulate(CORE)
    code = (
        "import os\n"
        "from pathlib import Path\n"
        "from fpga_facedet.simulation.shell import SimulatedShell\n"
        f"process = SimulatedShell(Path({str(built.executable)!r}), Path({str(built.data_dir)!r})).start()\n"
        "print(process._child.pid, flush=True); os._exit(0)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY)
    # Our pipe of its standard error would not have ended otherwise; it may be some time in the process table.
    assert result.returncode == 0
    children = Path(f"/proc/{int(result.stdout)}/cmdline")
    for _ in range(100):
        try:
            if not children.read_bytes():
                return
        except OSError:
            # It ended, perhaps between the opening and the reading.
            return
        threading.Event().wait(0.1)
    raise AssertionError("the simulator goes on without its master")


def test_a_failed_assertion_is_told(rng: np.random.Generator) -> None:
    core = Core(lanes_out=6, extra='if(given == 54) $error("byte 54 is one too many");')
    with simulate(core).start() as process:
        process.send(frames_of(rng, 1)[0])
        with pytest.raises(SimulationError, match="byte 54 is one too many"):
            process.step(1000)
        with pytest.raises(SimulationError, match="byte 54 is one too many"):
            process.receive(8)


def test_wrong_use_is_refused() -> None:
    with simulate(CORE).start() as process:
        with pytest.raises(InternalError, match="no bytes"):
            process.send(b"")
        with pytest.raises(InternalError, match="1 keeps for the beats of 9 bytes"):
            process.send(bytes(9), keeps=b"\xff")
        with pytest.raises(InternalError, match=r"pause for 1\.0"):
            process.pause(1.0, 0.0)
        assert process.read(shell.REG_ID) == shell.ID


FLAWS = [
    (".m_ovld(m_axis_tvalid)", "m_axis_tvalid", "{} && even", "withdrew an output beat"),
    (".m_odat(m_axis_tdata)", "m_axis_tdata", "{} ^ even", "changed an output beat"),
    (".m_olast(m_axis_tlast)", "m_axis_tlast", "{} ^ even", "changed an output beat"),
    (".m_okeep(m_axis_tkeep)", "m_axis_tkeep", "{} >> 1", "output beat that is not whole"),
    (".s_irdy(s_axis_tready)", "s_axis_tready", "{} && m_axis_tready", "m_axis_tready reaches"),
    (".rresp(s_axi_rresp)", "s_axi_rresp", "{} | 2", "answer with an error"),
    (".bresp(s_axi_bresp)", "s_axi_bresp", "{} | 3", "answer with an error"),
    (".rdata(s_axi_rdata)", "s_axi_rdata", "{} ^ even", "withdrew or changed an answer"),
    (".rvalid(s_axi_rvalid)", "s_axi_rvalid", "{} && 1'b0", "do not answer"),
    (".bvalid(s_axi_bvalid)", "s_axi_bvalid", "{} || 1'b1", "something to say while it is in reset"),
    (".arready(s_axi_arready)", "s_axi_arready", "{} && 1'b0", "answer what was not asked"),
    (".awready(s_axi_awready)", "s_axi_awready", "{} && 1'b0", "answer what was not asked"),
]


@pytest.fixture(scope="module")
def flawed(tmp_path_factory: pytest.TempPathFactory) -> SimulatedShell:
    """A top with every flaw; the memory flaw.dat says which of them is there."""
    folder = tmp_path_factory.mktemp("flawed")
    sources = write_overlay_top(CORE.write(folder / "core"), folder / "sources")
    text = sources[-1].read_text()
    wires = ["\treg [7:0] flaw [0:0];\n\treg even = 0;\n", '\tinitial $readmemh("./flaw.dat", flaw);\n']
    wires.append("\talways @(posedge aclk) even <= !even;\n")
    for number, (place, port, formula, _) in enumerate(FLAWS):
        assert text.count(place) == 1
        width = {"m_axis_tdata": 64, "m_axis_tkeep": 8, "s_axi_rdata": 32}.get(port, 2 if "resp" in port else 1)
        text = text.replace(place, place.replace(f"({port})", f"(right{number})"))
        wires.append(f"\twire [{width - 1}:0] right{number};\n")
        wires.append(f"\tassign {port} = flaw[0] == {number}? {formula.format(f'right{number}')} : right{number};\n")
    sources[-1].write_text(text.replace("\nendmodule", "".join(wires) + "\nendmodule"))
    place = build_model(sources, shell.TOP, folder / "simulator", DRIVER, {})
    return SimulatedShell(place / EXECUTABLE, folder / "sources")


def exercise(simulated: SimulatedShell, flaw: int, folder: Path, rng: np.random.Generator) -> None:
    (folder / "flaw.dat").write_text(f"{flaw:02x}\n")
    with SimulatedShell(simulated.executable, folder).start() as process:
        process.pause(0.0, 0.5)
        frame = CORE.frames(rng, 1)[0]
        process.send(frame.tobytes())
        assert packets(process, 1) == [CORE.result(frame)]
        for delay in range(3):
            process.read(shell.REG_ID, answer_delay=delay)
            process.write(shell.REG_ERRORS, 0, answer_delay=delay)


@pytest.mark.parametrize("flaw", range(len(FLAWS)), ids=[f"{port}-{says}" for _, port, _, says in FLAWS])
def test_each_broken_rule_is_told(flawed: SimulatedShell, tmp_path: Path, rng: np.random.Generator, flaw: int) -> None:
    with pytest.raises(SimulationError, match=FLAWS[flaw][3]):
        exercise(flawed, flaw, tmp_path, rng)


def test_no_flaw_is_none(flawed: SimulatedShell, tmp_path: Path, rng: np.random.Generator) -> None:
    exercise(flawed, 255, tmp_path, rng)


def test_a_missing_memory_is_told_at_the_start(flawed: SimulatedShell, tmp_path: Path) -> None:
    with pytest.raises(SimulationError, match=r"flaw\.dat"):
        SimulatedShell(flawed.executable, tmp_path).start()
    assert os.listdir(tmp_path) == []
