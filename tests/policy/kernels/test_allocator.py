import json
import platform
import subprocess
import sys

import pytest

from preflexor_pl.policy.kernels.allocator import keep_freed_memory

STEPS = """
import json, resource, sys
import torch
from preflexor_pl.policy.kernels.allocator import keep_freed_memory

if sys.argv[1] == "keep":
    assert keep_freed_memory()
faults = []
for _ in range(5):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [torch.ones(12 * 2**20) for _ in range(5)]  # 48 MiB each: glibc maps them, as it is
    del blocks
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(json.dumps(faults))
"""
GLIBC = platform.libc_ver()[0] == "glibc"


@pytest.mark.skipif(not GLIBC, reason="no other C library can be told")
def test_what_a_step_freed_is_there_for_the_next():
    faults = {}
    for way in "keep", "leave":
        done = subprocess.run(
            [sys.executable, "-c", STEPS, way], capture_output=True, text=True, check=True
        )
        faults[way] = json.loads(done.stdout)[-1]
    assert faults["keep"] < faults["leave"] / 10


def test_elsewhere_nothing_is_done(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed_memory()


def test_a_library_without_the_switch_is_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())
    assert not keep_freed_memory()
