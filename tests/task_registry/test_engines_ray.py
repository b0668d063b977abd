"""Ray clusters that are not there, or not as they should be; see test_engines.py for those that are."""

from __future__ import annotations

import pytest

from task_registry.engines.ray import Ray
from task_registry.errors import MachineError

pytest.importorskip("ray", reason="ray is not installed")


def double(spec: int) -> int:
    return 2 * spec


def test_a_cluster_without_the_machines_that_are_needed_is_told_of() -> None:
    with (
        Ray(1, address="local", gpus=64, patience=1.5) as engine,
        pytest.raises(MachineError, match=r"no machine .* 64 GPU"),
    ):
        list(engine.map(double, [2]))


def test_a_cluster_that_does_not_answer_is_one_line() -> None:
    with (
        pytest.raises(MachineError, match=r"no Ray cluster answers at 127\.0\.0\.1:1 \([^\n]*\)[^\n]*$"),
        Ray(address="127.0.0.1:1"),
    ):
        pass
