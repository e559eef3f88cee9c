from pathlib import Path

from qonnx.custom_op.registry import getCustomOp

from fpga_facedet.compiler import stream_fifo
from tests.compiler.conftest import Built


def test_writes_a_wrapper_that_stores_no_padding(built: Built, tmp_path: Path) -> None:
    node = next(node for node in built.graph("fifos").graph.node if node.op_type == "StreamingFIFO_rtl")
    assert node.domain == stream_fifo.DOMAIN
    fifo = getCustomOp(node)
    fifo.set_nodeattr("code_gen_dir_ipgen", str(tmp_path))
    fifo.set_nodeattr("folded_shape", [1, 8, 8, 3, 3])
    fifo.set_nodeattr("depth", 70)
    fifo.set_nodeattr("ram_style", "distributed")
    fifo.generate_hdl(None, "", 10.0)
    text = (tmp_path / "StreamingFIFO_rtl_0.v").read_text()
    # Three values of four bits are two bytes on the stream.
    assert "[16-1:0]  in0_V_TDATA" in text and "idat(in0_V_TDATA[12-1:0])" in text
    assert '#(.DEPTH(70), .WIDTH(12), .RAM_STYLE("distributed"))' in text
    sources = fifo.get_rtl_file_list(abspath=True)
    assert (
        [Path(name).name for name in sources] == fifo.get_rtl_file_list() == ["stream_fifo.sv", "StreamingFIFO_rtl_0.v"]
    )
    assert all(Path(name).is_file() for name in sources)
