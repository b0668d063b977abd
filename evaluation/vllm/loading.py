"""Load a stored model with vLLM, and refuse what only the transformers backend has."""

from __future__ import annotations

import os
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from evaluation.huggingface.loading import loading, quiet
from evaluation.huggingface.outline import Outline, load_outline
from evaluation.models import ModelOptions
from evaluation.vllm.model import VllmModel
from evaluation.weights import files_digest, weight_files
from task_registry.errors import MachineError, UsageError

BATCH_TOKENS = 2_048
"""Tokens of a pass. Log-likelihoods of prompts take the vocabulary's width in float32 for each, several times."""
ROWS = 256
"""Calls that are computed together at most."""
_OURS = ("device", "device_map", "peft", "quantize")
"""Options that vLLM is not told."""


def load_vllm(options: ModelOptions) -> VllmModel:
    """Load a stored model with vLLM; see `evaluation.models.load_model` for the errors.

    Weights, passes and memory are vLLM's: over `options.tensor_parallel` of the GPUs that it sees, or on the CPU,
    as it was built. Nothing is captured or compiled beforehand: loading is quicker and every pass the same.
    """
    check_options(options)
    outline = load_outline(options)
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    # A forked process could not use a GPU that this one has looked at.
    os.environ.setdefault("VLLM_WORKER_MULTIPROCESSING_METHOD", "spawn")
    with loading(options), quiet():
        import vllm
        from vllm.platforms import current_platform

        engine = vllm.LLM(**engine_arguments(options, outline)).llm_engine
    record = replace(
        outline.record,
        weights_digest=files_digest(weight_files(_folder(options, outline))),
        device=str(current_platform.device_type),
        path="vllm",
        path_reason=f"vLLM {vllm.__version__}, tensor parallel {options.tensor_parallel or 1}",
        attention="vllm",
    )
    return VllmModel(engine, vllm.SamplingParams, replace(outline, record=record))


def engine_arguments(options: ModelOptions, outline: Outline) -> dict[str, Any]:
    """The arguments of vLLM's `LLM`; whatever it would choose otherwise than the transformers backend is stated."""
    tokens = options.batch_tokens or BATCH_TOKENS
    return {
        "model": outline.origin.place,
        "revision": outline.origin.commit or options.revision,
        "trust_remote_code": options.trust_remote_code,
        "dtype": outline.record.dtype,
        "tensor_parallel_size": options.tensor_parallel or 1,
        "max_model_len": outline.record.max_length,
        "max_num_batched_tokens": tokens,
        "max_num_seqs": min(ROWS, tokens),
        "enable_chunked_prefill": True,
        "enable_prefix_caching": True,
        "skip_tokenizer_init": True,
        "generation_config": "vllm",
        "enforce_eager": True,
        "seed": 0,
    }


def check_options(options: ModelOptions) -> None:
    """Refuse what this backend does not have, before anything is loaded.

    Raises:
        UsageError: an option of the transformers backend alone.
        MachineError: vLLM is not installed.
    """
    if options.name.startswith("builtin:"):
        raise UsageError(f"--backend vllm takes stored models, {options.name} is made on the spot")
    for name in _OURS:
        if getattr(options, name):
            raise UsageError(
                f"--{name.replace('_', '-')} does not go with --backend vllm; leave one of them out"
            )
    if options.path != "auto":
        raise UsageError(f"--path {options.path} does not go with --backend vllm; leave one of them out")
    if find_spec("vllm") is None:
        raise MachineError(
            "--backend vllm needs the package vllm; in an environment of its own, run:"
            " pip install 'optiml-bench[vllm]'"
        )


def _folder(options: ModelOptions, outline: Outline) -> Path:
    """Where a loaded model's files are: its folder, or the Hub's cache."""
    if Path(outline.origin.place).is_dir():
        return Path(outline.origin.place)
    from huggingface_hub import snapshot_download

    revision = outline.origin.commit or options.revision
    return Path(snapshot_download(options.name, revision=revision, local_files_only=True))
