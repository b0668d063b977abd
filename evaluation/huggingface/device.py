"""What this machine computes on, in words."""

from __future__ import annotations

import torch


def device_summary() -> str:
    """The GPUs with their memory, or that there is none."""
    if not torch.cuda.is_available():
        return f"CPU only, {torch.get_num_threads()} threads (torch {torch.__version__})"
    names = []
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        names.append(f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB")
    return "; ".join(names)


def is_lost() -> bool:
    """Whether this process had a GPU that no longer answers: after some errors only a new process has one again."""
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return False
    try:
        torch.cuda.synchronize()
    except RuntimeError:
        return True
    return False
