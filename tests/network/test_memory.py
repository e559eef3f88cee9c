import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, platform
assert platform.libc_ver()[0] == "glibc", platform.libc_ver()
if {keep}:
    from fpga_facedet.network.memory import keep_freed_memory
    keep_freed_memory()
import resource
faults = []
for _ in range(20):
    step = [bytearray(b"x") * (16 << 20) for _ in range(8)]
    del step
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
print(faults[-1] - faults[4])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="page faults are counted as Linux counts them")
def test_freed_memory_is_used_again() -> None:
    fresh, kept = (
        int(subprocess.run([sys.executable, "-c", PROGRAM.format(keep=keep)], capture_output=True, check=True).stdout)
        for keep in (False, True)
    )
    assert kept * 10 < fresh
