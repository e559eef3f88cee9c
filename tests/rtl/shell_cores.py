"""Accelerators of any shape for the board shell to be tested with: whole frames go in, other bytes come out."""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fpga_facedet import shell
from fpga_facedet.compiler import layout
from fpga_facedet.manifest import HeadInfo, InputInfo, Manifest, ModelInfo, StreamInfo
from fpga_facedet.simulation.shell import ShellProcess, SimulatedShell, compile_shell

MODEL_HASH = "0123456789abcdef" * 4
PATIENCE = 100_000
"""Cycles in which anything here happens; a wait that long is a hang."""

# Banks: a frame comes in while the one before it goes out. Byte k of the output depends on k, on an input byte, and
# on the last input byte, so that a frame out of step shows everywhere.
CORE = """
module facedet_core(
    input logic ap_clk, ap_rst_n,
    input logic [8*{lanes_in}-1:0] s_axis_tdata, input logic s_axis_tvalid, output logic s_axis_tready,
    output logic [8*{lanes_out}-1:0] m_axis_tdata, output logic m_axis_tvalid, input logic m_axis_tready
);
    logic [7:0] bank[{banks}][{bytes_in}];
    logic [{banks}-1:0] full;
    logic [$clog2({banks})-1:0] from, to;
    int unsigned taken, given;
    assign s_axis_tready = !full[to];
    assign m_axis_tvalid = full[from] || (!ap_rst_n && {restless});
    for(genvar lane = 0; lane < {lanes_out}; lane++)
        assign m_axis_tdata[8*lane +: 8] = bank[from][(given+lane) % {bytes_in}] ^ 8'(given+lane)
            ^ bank[from][{bytes_in}-1];
    always_ff @(posedge ap_clk) begin
        if(s_axis_tvalid && s_axis_tready) begin
            for(int lane = 0; lane < {lanes_in}; lane++) bank[to][taken+lane] <= s_axis_tdata[8*lane +: 8];
            taken <= taken + {lanes_in};
            if(taken + {lanes_in} == {bytes_in}) begin taken <= 0; full[to] <= 1; to <= to + 1; end
        end
        if(m_axis_tvalid && m_axis_tready) begin
            given <= given + {lanes_out};
            if(given + {lanes_out} == {bytes_out}) begin given <= 0; full[from] <= 0; from <= from + 1; end
        end
        if(!ap_rst_n) begin taken <= 0; given <= 0; full <= 0; from <= 0; to <= 0; end
        {extra}
    end
endmodule
"""


@dataclass(frozen=True)
class Core:
    """The shape of an accelerator: pixels of its input, stride, values a beat on either side, anchors.

    It holds as many frames as it has `banks`, a power of two. A `restless` one offers a beat while it is in reset;
    `extra` is a statement of each cycle.
    """

    height: int = 4
    width: int = 6
    stride: int = 2
    lanes_in: int = 3
    lanes_out: int = 1
    anchors: int = 3
    restless: bool = False
    banks: int = 2
    extra: str = ""

    @property
    def manifest(self) -> Manifest:
        grid_height, grid_width = self.height // self.stride, self.width // self.stride
        head = HeadInfo(
            grid_height, grid_width, 6 * self.anchors, self.stride, ((1.0, 1.0),) * self.anchors, 1 / 128, 0.5, 0.5
        )
        values_in, values_out = 3 * self.height * self.width, grid_height * grid_width * head.channels
        stream = StreamInfo(
            values_in // self.lanes_in, self.lanes_in, 8, values_out // self.lanes_out, self.lanes_out, 8
        )
        return Manifest(
            model=ModelInfo("core", MODEL_HASH, {}),
            input=InputInfo(self.height, self.width, 3, 114),
            head=head,
            board="pynq-z2",
            clock_mhz=100,
            stream=stream,
        )

    def write(self, folder: Path) -> Path:
        """Write it as the folder of an accelerator."""
        rtl = folder / layout.RTL
        rtl.mkdir(parents=True)
        manifest = self.manifest
        assert manifest.stream
        (rtl / layout.TOP_FILE).write_text(
            CORE.format(
                lanes_in=self.lanes_in,
                lanes_out=self.lanes_out,
                bytes_in=3 * self.height * self.width,
                bytes_out=shell.output_bytes(manifest),
                banks=self.banks,
                restless=int(self.restless),
                extra=self.extra,
            )
        )
        (rtl / layout.FILE_LIST).write_text(f"{layout.TOP_FILE}\n")
        (folder / layout.GOLDEN).write_bytes(b"none")
        replace(manifest, files=layout.digests(folder)).save(folder / "accelerator.json")
        return folder

    def frames(self, rng: np.random.Generator, count: int) -> npt.NDArray[np.uint8]:
        """Random frames uint8 (count, height, width, 4), RGBX with any X."""
        return rng.integers(1, 256, (count, self.height, self.width, 4), np.uint8)

    def result(self, frame: npt.NDArray[np.uint8]) -> bytes:
        """What comes out for a frame uint8 (..., 4), RGBX: padded with zeros as the DMA receives it."""
        values = frame.reshape(-1, 4)[:, :3].ravel()
        place = np.arange(shell.output_bytes(self.manifest))
        data = values[place % len(values)] ^ place.astype(np.uint8) ^ values[-1]
        return data.tobytes().ljust(shell.result_bytes(self.manifest), b"\0")

    def zero_filled(self, data: bytes) -> bytes:
        """What comes out for the beginning of a frame, the rest of its pixels being zeros."""
        whole = np.zeros((self.height * self.width, 4), np.uint8)
        pixels = np.frombuffer(data[: len(data) // 4 * 4], np.uint8).reshape(-1, 4)
        whole[: len(pixels)] = pixels
        return self.result(whole)


CORES = {
    "as shipped": Core(),
    "single values": Core(lanes_in=1, lanes_out=1, anchors=1),
    "an anchor a beat": Core(lanes_out=6),
    "a cell a beat": Core(lanes_out=18),
    "two pixels a beat": Core(lanes_in=6, lanes_out=18),
    "odd lanes": Core(lanes_out=9),
    "whole beats": Core(lanes_out=8, anchors=2),
    "several beats at once": Core(lanes_out=24, anchors=2),
    "odd pixels": Core(height=3, width=5, stride=1, lanes_out=6, anchors=1),
    "one beat out": Core(height=2, width=2, stride=2, lanes_out=2, anchors=1),
    "restless in reset": Core(lanes_out=6, restless=True),
}
SHIPPED = CORES["as shipped"]
STALLS = [(0.0, 0.0), (0.5, 0.5), (0.0, 0.9), (0.9, 0.0)]


def simulate(core: Core) -> SimulatedShell:
    """Build the simulator of a core; all tests of a run share the folder."""
    folder = Path(_SIMULATORS.name) / f"core-{abs(hash(core))}"
    if not folder.exists():
        core.write(folder)
    return compile_shell(folder, folder / "simulator")


_SIMULATORS = tempfile.TemporaryDirectory(prefix="facedet-shell-")


def packets(process: ShellProcess, count: int) -> list[bytes]:
    """The next `count` packets that come out; fails where one does not."""
    found = []
    for _ in range(count):
        assert process.run_until_output(PATIENCE), f"no packet, status {process.read(shell.REG_STATUS):#x}"
        data, ended = process.receive(1 << 20)
        assert ended
        found.append(data)
    return found


def rest(process: ShellProcess, cycles: int = 1000) -> list[bytes]:
    """All packets that come out in `cycles`; fails where something else is left over."""
    process.step(cycles)
    found = []
    while True:
        data, ended = process.receive(1 << 20)
        if not ended:
            assert data == b"", "bytes without an end"
            return found
        found.append(data)


def errors(process: ShellProcess) -> int:
    """The sticky errors, which are cleared."""
    found = process.read(shell.REG_ERRORS)
    process.write(shell.REG_ERRORS, found)
    assert process.read(shell.REG_ERRORS) == 0
    return found
