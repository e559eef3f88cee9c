#!/bin/sh
# Makes the overlay of a model for a board: its accelerator, then Vivado's project, and the bitstream where Vivado is on
# the PATH. FACEDET names the program where it is not .venv's. See README.md here.
set -eu

if [ $# -ne 2 ]; then
	echo "usage: bitstreams/build.sh BOARD MODEL   (for example: bitstreams/build.sh pynq-z2 lpyolo-4w4a)" >&2
	exit 2
fi
board=$1
model=$2

facedet=${FACEDET:-}
case $facedet in
/* | "") ;;
*/*) facedet=$PWD/$facedet ;;
esac
cd "$(dirname "$0")/.."
if [ -z "$facedet" ]; then
	facedet=facedet
	[ ! -x .venv/bin/facedet ] || facedet=.venv/bin/facedet
fi

# Always, though it takes a minute: one that stands there may be of an older model or compiler. The same gives the same
# sources, and a result that Vivado made of them stays.
accelerator=build/$model-$board
"$facedet" build --model "$model" --board "$board" --out "$accelerator"
exec "$facedet" overlay build "$accelerator" --board "$board" --out "bitstreams/$board/$model"
