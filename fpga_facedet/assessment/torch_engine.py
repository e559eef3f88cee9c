"""The torch engine: the exact quantized network in float32, as it was trained; no accelerator can be built of it."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from fpga_facedet.engines.protocol import check_frames
from fpga_facedet.errors import UserError
from fpga_facedet.manifest import Manifest
from fpga_facedet.network.tinyyolo import TinyYolo
from fpga_facedet.spec import DetectorSpec
from fpga_facedet.training.trainer import network_of, read_checkpoint


class TorchEngine:
    """Runs the checkpoint of a model with torch on this processor, float32 throughout.

    Args:
        checkpoint: a finished checkpoint, as `facedet train` wrote it beside the model.
        manifest: the model's.

    Raises UserError where the checkpoint cannot be read, or is not the one that the model was exported from.
    """

    name = "torch"

    def __init__(self, checkpoint: str | Path, manifest: Manifest) -> None:
        self.manifest = manifest
        state = read_checkpoint(checkpoint)
        self.network: TinyYolo = network_of(state)
        same_spec = self.network.spec == DetectorSpec.from_dict(manifest.model.spec, "the model")
        if not same_spec or state.get("training") != manifest.model.training:
            raise UserError(
                f"The checkpoint {checkpoint} has not the {'training' if same_spec else 'spec'} of the model "
                f"{manifest.model.name}; give the one that the model was exported from (--checkpoint)."
            )

    def infer(self, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.int8]:
        """Run letterboxed RGB frames uint8 (N, H, W, 3); return the head's integers int8 (N, grid_h, grid_w, C)."""
        check_frames(frames, self.manifest)
        head = self.manifest.head
        raw = np.empty((len(frames), head.grid_height, head.grid_width, head.channels), np.int8)
        # One at a time: how torch adds up depends on the batch, and a frame's output must not depend on its neighbours.
        for number, frame in enumerate(frames):
            with torch.no_grad():
                output = self.network(torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 255)
            raw[number] = (output[0].permute(1, 2, 0) / head.output_scale).round().to(torch.int8).numpy()
        return raw

    def close(self) -> None:
        """Do nothing: memory goes with the object."""
