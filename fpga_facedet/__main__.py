"""`python -m fpga_facedet`: the command `facedet`, for launchers such as torchrun that start modules."""

from fpga_facedet.cli import main

if __name__ == "__main__":
    main()
