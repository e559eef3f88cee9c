#!/bin/sh
# Makes the overlay of a model for a board: its accelerator, unless there is one, then Vivado's project, and the
# bitstream where Vivado is on the PATH. See README.md here.
set -eu

if [ $# -ne 2 ]; then
	echo "usage: bitstreams/build.sh BOARD MODEL   (for example: bitstreams/build.sh pynq-z2 lpyolo-4w4a)" >&2
	exit 2
fi
board=$1
model=$2

cd "$(dirname "$0")/.."
facedet=${FACEDET:-facedet}
if [ -z "${FACEDET:-}" ] && [ -x .venv/bin/facedet ]; then
	facedet=.venv/bin/facedet
fi

accelerator=build/$model-$board
if [ ! -f "$accelerator/accelerator.json" ]; then
	"$facedet" build --model "$model" --board "$board" --out "$accelerator"
fi
exec "$facedet" overlay build "$accelerator" --board "$board" --out "bitstreams/$board/$model"
