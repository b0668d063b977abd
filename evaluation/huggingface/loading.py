"""Load a causal LM and its tokenizer from the Hub or a folder, and refuse what cannot give right numbers."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any, cast

import numpy as np
import torch

from evaluation.huggingface.hub import adapter_folder, locate
from evaluation.models import ModelOptions, Tokens
from task_registry.errors import MachineError, ModelError, UsageError, quote

DTYPES = {
    "auto": "auto",
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float32": torch.float32,
}
_SAMPLE = 1_024
"""Values of each parameter that the weights' digest runs over."""


def load_parts(options: ModelOptions) -> tuple[Any, Any, str]:
    """The model, in evaluation mode on its device, its tokenizer, and its commit, empty for a folder.

    Raises:
        ModelError, MachineError, UsageError: see `evaluation.models.load_model`.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    check_options(options)
    with loading(options), quiet():
        origin = locate(options.name, revision=options.revision)
        common = {"revision": options.revision, "trust_remote_code": options.trust_remote_code}
        tokenizer = AutoTokenizer.from_pretrained(origin.place, **common)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            origin.place,
            dtype=DTYPES[options.dtype],
            device_map=options.device_map or {"": device_of(options)},
            output_loading_info=True,
            **_quantization(options),
            **common,
        )
    model, facts = loaded
    missing = sorted(facts["missing_keys"])
    if missing:
        raise ModelError(
            f"{options.name}: the weights lack {len(missing)} of the model's parameters ({missing[0]}, ...);"
            " they would be random; check that folder and architecture belong together"
        )
    if options.peft:
        model = _with_adapter(model, options.peft)
    return model.eval(), tokenizer, origin.commit


def load_config_and_tokenizer(options: ModelOptions) -> tuple[Any, Any]:
    """A model's configuration and its tokenizer: a few files, however large the model is.

    Raises:
        ModelError: see `evaluation.models.load_model`.
    """
    from transformers import AutoConfig, AutoTokenizer

    with loading(options), quiet():
        place = locate(options.name, revision=options.revision).place
        common = {"revision": options.revision, "trust_remote_code": options.trust_remote_code}
        config = AutoConfig.from_pretrained(place, **common)
        return config, AutoTokenizer.from_pretrained(place, **common)


def check_weights(model: Any, name: str) -> None:
    """Refuse weights with NaN or infinity.

    Raises:
        ModelError: names the first such parameter.
    """
    floating = {
        key: value
        for key, value in model.named_parameters()
        if value.is_floating_point() and value.device.type != "meta" and value.numel()
    }
    # The extremes are NaN where any value is; a GPU has computed them all before the first is looked at.
    finite = [torch.isfinite(torch.stack(torch.aminmax(value.detach()))).all() for value in floating.values()]
    for key, whole in zip(floating, finite, strict=True):
        if not whole:
            raise ModelError(
                f"{name}: parameter {key} holds NaN or infinity; download or convert the weights again"
            )


def ordinary_tokens(tokenizer: Any, name: str) -> Tokens:
    """The ids of a tokenizer's tokens, special ones apart, sorted.

    Raises:
        ModelError: there are none.
    """
    ordinary = sorted(set(tokenizer.get_vocab().values()).difference(tokenizer.all_special_ids))
    if not ordinary:
        raise ModelError(
            f"{name}: the tokenizer has no tokens, its files are missing; copy them into the folder"
        )
    return np.asarray(ordinary, np.int32)


def check_vocabulary(model: Any, ordinary: Tokens, name: str) -> int:
    """How many ids the model can embed; the tokenizer's ordinary ones must be among them.

    Raises:
        ModelError: they are not. Special ones without an embedding (an added padding token, say) pass.
    """
    rows = int(model.get_input_embeddings().weight.shape[0])
    if ordinary[-1] >= rows:
        raise ModelError(
            f"{name}: the tokenizer gives ids up to {ordinary[-1]}, the model embeds {rows};"
            " model and tokenizer do not belong together"
        )
    return rows


def weights_digest(model: Any) -> str:
    """A 128-bit digest of every parameter's name, shape and up to 1,024 evenly spaced values, as loaded.

    Unlike a digest of files it is quick for any size, and the same for Hub, folder and merged adapter.
    """
    digest = blake2b(digest_size=16)
    for key, value in model.named_parameters():
        digest.update(f"{key}\0{tuple(value.shape)}\0".encode())
        if value.device.type != "meta":
            flat = value.detach().flatten()
            sample = flat[:: max(1, -(-len(flat) // _SAMPLE))]
            digest.update(sample.float().cpu().numpy().tobytes())
    return digest.hexdigest()


def context_length(config: Any, tokenizer: Any) -> int:
    """Tokens that the model's positions allow; the tokenizer's limit, else 2,048, where its config says nothing."""
    config = config.get_text_config()
    for key in ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "seq_length"):
        value = getattr(config, key, None)
        if isinstance(value, int) and value > 0:
            return value
    limit = int(tokenizer.model_max_length)
    return limit if limit < 1_000_000 else 2_048


def cache_bytes(model: Any) -> int:
    """Memory of one token's keys and values, from the model's shape."""
    config = model.config.get_text_config()
    heads = getattr(config, "num_attention_heads", 1)  # a recurrent model has none, and no cache that grows
    dimension = getattr(config, "head_dim", None) or config.hidden_size // heads
    kept = getattr(config, "num_key_value_heads", None) or heads
    return int(2 * config.num_hidden_layers * kept * dimension * model.dtype.itemsize)


def attention_window(model: Any) -> int | None:
    """Tokens that some layer's sliding window or chunk is limited to; None if all layers see everything."""
    config = model.config.get_text_config()
    windows = [
        getattr(config, key, None) for key in ("sliding_window", "attention_chunk_size", "window_size")
    ]
    limits = [window for window in windows if isinstance(window, int) and window > 0]
    kinds = getattr(config, "layer_types", None)
    unused = getattr(config, "use_sliding_window", True) is False or (
        kinds is not None and set(kinds) == {"full_attention"}
    )
    return None if unused or not limits else min(limits)


def eos_ids(model: Any, tokenizer: Any) -> tuple[int, ...]:
    """Token ids that end a generation: those of the generation config and the tokenizer's."""
    generation = getattr(model, "generation_config", None)
    stated = getattr(generation, "eos_token_id", None)
    ids = stated if isinstance(stated, list) else [stated]
    return tuple(sorted({int(one) for one in [*ids, tokenizer.eos_token_id] if one is not None}))


def check_options(options: ModelOptions) -> None:
    """Refuse values that no model takes, before anything is loaded.

    Raises:
        UsageError: an unknown dtype, device, quantization or path, or two that exclude each other.
        ModelError: a GPU that this machine does not have.
    """
    if options.dtype not in DTYPES:
        raise UsageError(f"unknown dtype {quote(options.dtype)}; expected one of {', '.join(DTYPES)}")
    if options.quantize not in (None, "8bit", "4bit"):
        raise UsageError(f"unknown quantization {quote(options.quantize)}; expected 8bit or 4bit")
    if options.path not in ("auto", "plain"):
        raise UsageError(f"unknown path {quote(options.path)}; expected auto or plain")
    if options.device and options.device_map:
        raise UsageError("--device and --device-map exclude each other; give one of them")
    device_of(options)


def device_of(options: ModelOptions) -> torch.device:
    """The device that the options name, else the first GPU, else the CPU."""
    chosen = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(chosen)
    except RuntimeError as error:
        raise UsageError(f"unknown device {quote(chosen)}; expected cpu, cuda or cuda:N") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ModelError(f"device {chosen}: this machine has {torch.cuda.device_count()} usable NVIDIA GPUs")
    return device


def _quantization(options: ModelOptions) -> dict[str, Any]:
    """The loading option that quantizes weights, if asked for."""
    if options.quantize is None:
        return {}
    from importlib.util import find_spec

    from transformers import BitsAndBytesConfig

    if find_spec("bitsandbytes") is None:
        raise MachineError("--quantize needs the package bitsandbytes; run: pip install bitsandbytes")
    # It would say in every pass of a model in another dtype that it computes in float16.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    config: Any = BitsAndBytesConfig
    eight = options.quantize == "8bit"
    return {"quantization_config": config(load_in_8bit=eight, load_in_4bit=not eight)}


def _with_adapter(model: Any, name: str) -> Any:
    """The model with a PEFT adapter merged into its weights."""
    try:
        from peft import PeftModel
    except ImportError as error:
        raise MachineError("--peft needs the package peft; run: pip install peft") from error
    try:
        with warnings.catch_warnings():
            # An adapter of another architecture would leave the model as it is, with a warning.
            warnings.filterwarnings("error", message=".*missing adapter keys")
            return PeftModel.from_pretrained(model, adapter_folder(name)).merge_and_unload()
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(f"adapter {name} cannot be put on the model: {gist(error)}") from error


@contextmanager
def loading(options: ModelOptions) -> Iterator[None]:
    """Turn what loading may raise into one line that says what to do."""
    try:
        yield
    except (ModelError, MachineError, UsageError):
        raise
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise ModelError(
            f"{options.name} does not fit the memory; try --dtype bfloat16, --device-map auto or --quantize 4bit"
        ) from error
    except Exception as error:
        what = str(error)
        if "trust_remote_code" in what:
            raise ModelError(
                f"{options.name} brings code of its own; read it, then allow it with --trust-remote-code"
            ) from error
        if "instantiate the backend tokenizer" in what:
            raise ModelError(
                f"{options.name}: the tokenizer's files are missing, or need the package sentencepiece; copy"
                " tokenizer.json into the folder, or run: pip install sentencepiece"
            ) from error
        raise ModelError(f"{options.name} cannot be loaded: {gist(error)}") from error


def gist(error: Exception) -> str:
    """The beginning of a library's message, for a one-line error."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 240 else f"{text[:239]}…"


@contextmanager
def quiet() -> Iterator[None]:
    """Without the progress bars and remarks of `transformers`: what is shown is the command line's to decide.

    Downloads, which may take hours, keep their bars; the Hub's client shows them on terminals only.
    """
    from huggingface_hub import utils as hub_utils
    from transformers.utils import logging as transformers_logging

    hub, own = cast("tuple[Any, Any]", (hub_utils, transformers_logging))
    shown, verbosity = own.is_progress_bar_enabled(), own.get_verbosity()
    downloads, hub_verbosity = not hub.are_progress_bars_disabled(), hub.logging.get_verbosity()
    own.disable_progress_bar()
    own.set_verbosity_error()
    hub.logging.set_verbosity_error()
    if downloads:
        hub.enable_progress_bars()  # which `transformers` has disabled with its own
    try:
        yield
    finally:
        hub.logging.set_verbosity(hub_verbosity)
        own.set_verbosity(verbosity)
        if shown:
            own.enable_progress_bar()
