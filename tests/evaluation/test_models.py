"""The requests' own arithmetic, the built-in model, and what loading refuses."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import make_model, make_tokenizer, merging_tokenizer, reference_scores
from transformers import OPTConfig, OPTForCausalLM

from evaluation.huggingface import assemble
from evaluation.huggingface.loading import weights_digest
from evaluation.models import LanguageModel, ModelOptions, OptionsRequest, load_model, load_tokenizer
from task_registry.errors import MachineError, ModelError, UsageError


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A local model is loaded without the network; a name that is not local fails at once."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError("the network is out of reach")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny OPT and its tokenizer."""
    folder = tmp_path_factory.mktemp("model") / "tiny"
    make_model("opt").save_pretrained(folder)
    make_tokenizer("opt").save_pretrained(folder)
    return folder


@pytest.fixture
def folder(stored: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    return Path(shutil.copytree(stored, tmp_path / "copy"))


def ids(*values: int) -> np.ndarray[Any, np.dtype[np.int32]]:
    return np.asarray(values, np.int32)


def test_a_request_knows_its_lengths() -> None:
    request = OptionsRequest(ids(2, 5, 6), (ids(7, 8), ids(9, 9, 9)), scored=(1, 2))
    assert (request.longest, request.prompt_tokens) == (6, 4)
    assert OptionsRequest(ids(2), (), ()).longest == OptionsRequest(ids(2), (), ()).prompt_tokens == 1


def test_the_protocol_is_read_without_torch() -> None:
    code = "import sys, evaluation.models, evaluation.batching; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# The built-in model


def test_the_builtin_model_is_the_same_everywhere() -> None:
    """Its digest and a score are written down here: they are a fixed formula, not a generator's state."""
    torch.manual_seed(1)
    record = load_model(ModelOptions("builtin:tiny-opt")).describe()
    torch.manual_seed(2)
    model = load_model(ModelOptions("builtin:tiny-opt"))
    assert model.describe() == record
    assert record.weights_digest == "2fe72d7257bc748fba87e3ae1647ec50"
    assert (record.path, record.bos, record.eos, record.max_length) == ("shared", (2,), (2,), 2_048)
    (request,) = model.tokenizer.options(
        [("Is this review positive or negative?\nAnswer:", ["positive", "negative"])]
    )
    assert request.context[0] == 2 and request.context.tolist().count(2) == 1
    ((_, score),) = model.score_options([request])
    assert score.logprobs == pytest.approx((-5.93667, -7.87962), abs=1e-3)


def test_the_builtin_model_computes_with_one_thread() -> None:
    """Several, on a machine that is busy otherwise, take twenty times as long for passes as small as these."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        load_model(ModelOptions("builtin:tiny-opt", device="cpu"))
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_the_builtin_model_knows_words_that_instructions_are_made_of() -> None:
    (count,) = load_model(ModelOptions("builtin:tiny-opt")).tokenizer.count(
        ["Read the passage, then answer the question."]
    )
    assert count <= 12


@pytest.mark.parametrize(
    "options", [{"revision": "main"}, {"peft": "x"}, {"quantize": "8bit"}, {"device_map": "auto"}]
)
def test_the_builtin_model_refuses_options_of_stored_ones(options: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="made on the spot"):
        load_model(ModelOptions("builtin:tiny-opt", **options))


def test_an_unknown_builtin_model_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="there is builtin:tiny-opt"):
        load_model(ModelOptions("builtin:gpt"))


# Models that are stored


def test_a_stored_model_is_loaded_as_it_was_made(stored: Path) -> None:
    loaded = load_model(ModelOptions(str(stored)))
    made = assemble(make_model("opt"), make_tokenizer("opt"), ModelOptions(str(stored)))
    assert loaded.describe() == made.describe()
    requests = made.tokenizer.options([("Is it?", ["yes", "no, it is not"])])
    assert list(loaded.score_options(requests)) == list(made.score_options(requests))


def test_the_tokenizer_alone_is_the_models(folder: Path) -> None:
    """Neither weights nor the model are needed: a prompt for a large model is shown in seconds."""
    expected = [load_model(ModelOptions(name)) for name in (str(folder), "builtin:tiny-opt")]
    (folder / "model.safetensors").unlink()
    for model in expected:
        tokenizer, length = load_tokenizer(ModelOptions(model.describe().name))
        assert length == model.max_length
        assert tokenizer.bos == model.describe().bos == model.tokenizer.bos
        (one,), (two,) = (made.options([("Is it?", ["yes"])]) for made in (tokenizer, model.tokenizer))
        assert one.context.tolist() == two.context.tolist()
    for file in folder.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(ModelError, match="its files are missing"):
        load_tokenizer(ModelOptions(str(folder)))
    with pytest.raises(UsageError, match="there is builtin:tiny-opt"):
        load_tokenizer(ModelOptions("builtin:gpt"))


def test_a_dtype_is_taken_at_its_word(stored: Path) -> None:
    record = load_model(ModelOptions(str(stored), dtype="bfloat16")).describe()
    assert (record.dtype, record.weights_bytes) == ("bfloat16", 2 * record.parameters)


def test_the_digest_sees_every_parameter() -> None:
    base = weights_digest(make_model("opt"))
    for name, _ in make_model("opt").named_parameters():
        changed = make_model("opt")
        changed.get_parameter(name).data.flatten()[0] += 1
        assert weights_digest(changed) != base, name


def refused(options: ModelOptions, message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        load_model(options)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 420


def test_a_hub_id_that_does_not_exist() -> None:
    refused(
        ModelOptions("nobody/this-does-not-exist"), "nobody/this-does-not-exist: no such folder, .* reached"
    )


@pytest.mark.parametrize("name", ["/no/such/folder", "./missing", "a/b/c"])
def test_a_folder_that_does_not_exist(name: str) -> None:
    refused(ModelOptions(name), "no such folder, and no Hub id")


def test_a_folder_that_holds_no_model(tmp_path: Path) -> None:
    refused(ModelOptions(str(tmp_path)), "no config.json")


def test_a_folder_without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    refused(ModelOptions(str(folder)), "cannot be loaded: .*no file named model.safetensors")


def test_weights_that_are_cut_off(folder: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    refused(ModelOptions(str(folder)), "cannot be loaded")


def test_weights_that_lack_a_parameter(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    refused(ModelOptions(str(folder)), "weights lack 16 of the model's parameters .*layers.2")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_with_nan_or_infinity(value: float) -> None:
    model = make_model("opt")
    model.model.decoder.layers[1].fc1.weight.data[3, 4] = value
    with pytest.raises(ModelError, match=r"layers\.1\.fc1\.weight holds NaN or infinity"):
        assemble(model, make_tokenizer("opt"), ModelOptions("m"))


def test_a_model_that_overflows_its_dtype() -> None:
    """Finite weights, infinite results: what float16 does to some models made for bfloat16."""
    model = make_model("opt")
    model.get_output_embeddings().weight.data.mul_(1e30)
    model.model.decoder.final_layer_norm.weight.data.mul_(1e30)
    with pytest.raises(ModelError, match=r"NaN or infinite log-likelihoods in torch\.float32"):
        assemble(model, make_tokenizer("opt"), ModelOptions("m"))


def test_a_tokenizer_with_more_tokens_than_the_model() -> None:
    model = make_model("opt")
    model.resize_token_embeddings(400)
    with pytest.raises(ModelError, match="gives ids up to 450, the model embeds 400"):
        assemble(model, make_tokenizer("opt"), ModelOptions("m"))


def test_a_padding_token_without_embedding_does_no_harm() -> None:
    """Added to many checkpoints' tokenizers; nothing here ever pads with it."""
    tokenizer = make_tokenizer.__wrapped__("gpt2")
    tokenizer.add_special_tokens({"pad_token": "<pad>"})
    model = make_model("gpt2")
    model.resize_token_embeddings(tokenizer.pad_token_id)
    made = assemble(model, tokenizer, ModelOptions("m"))
    assert len(list(made.score_options(made.tokenizer.options([("Is it?", ["yes"])])))) == 1
    with pytest.raises(ModelError, match="no embedding"):
        list(made.score_options(made.tokenizer.options([("Is it <pad>?", ["yes"])])))


def test_a_folder_without_a_tokenizer(folder: Path) -> None:
    for file in folder.glob("tokenizer*"):
        file.unlink()
    refused(ModelOptions(str(folder)), "its files are missing")


def test_a_config_that_is_no_json(folder: Path) -> None:
    (folder / "config.json").write_text("{")
    refused(ModelOptions(str(folder)), "not a valid JSON file")


def test_an_architecture_that_is_unknown(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "abacus"}))
    refused(ModelOptions(str(folder)), "abacus")


def test_a_model_that_brings_its_own_code_is_not_run_unasked(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": "homemade",
        "auto_map": {"AutoConfig": "code.Config", "AutoModelForCausalLM": "code.Model"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "code.py").write_text("raise SystemExit('this must not run')")
    refused(ModelOptions(str(folder)), "allow it with --trust-remote-code")


@pytest.mark.filterwarnings(
    "ignore:unclosed file:ResourceWarning"
)  # transformers leaves the code's file open
def test_a_model_that_brings_its_own_code_is_run_when_that_is_allowed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", sys.path.copy())
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": "homemade",
        "auto_map": {"AutoConfig": "homemade.Config", "AutoModelForCausalLM": "homemade.Model"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "homemade.py").write_text(
        "from transformers import OPTConfig, OPTForCausalLM\n"
        "class Config(OPTConfig):\n    model_type = 'homemade'\n"
        "class Model(OPTForCausalLM):\n    config_class = Config\n"
    )
    record = load_model(ModelOptions(str(folder), trust_remote_code=True)).describe()
    assert (record.architecture, record.path) == ("Model", "shared")


def test_a_model_may_be_spread_over_devices(stored: Path) -> None:
    """As far as a machine without a GPU can tell: through accelerate, to the same results."""
    pytest.importorskip("accelerate")
    spread, whole = (load_model(ModelOptions(str(stored), device_map=how)) for how in ("auto", None))
    assert spread.describe() == whole.describe()
    assert sums(spread) == sums(whole)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "float8"}, "unknown dtype"),
        ({"device": "abacus"}, "unknown device"),
        ({"quantize": "2bit"}, "unknown quantization"),
        ({"path": "fast"}, "unknown path"),
        ({"device": "cpu", "device_map": "auto"}, "exclude each other"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_model(ModelOptions("anything", **options))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there(stored: Path) -> None:
    refused(ModelOptions(str(stored), device="cuda"), "0 usable NVIDIA GPUs")


def test_a_model_that_does_not_fit_the_memory(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoModelForCausalLM

    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", full)
    refused(ModelOptions(str(stored)), "does not fit the memory; try")


@pytest.fixture
def adapter(tmp_path: Path) -> Iterator[Path]:
    """A folder with a LoRA adapter of the tiny OPT, made by the real package."""
    peft = pytest.importorskip("peft")
    adapted = peft.get_peft_model(
        make_model("opt"), peft.LoraConfig(target_modules=["q_proj", "fc1"], r=2, init_lora_weights=False)
    )
    adapted.save_pretrained(tmp_path / "adapter")
    yield tmp_path / "adapter"


peft_asks = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
"""What the package itself asks of transformers."""


def sums(model: LanguageModel) -> tuple[float, ...]:
    """Log-likelihoods of two options."""
    ((_, score),) = model.score_options(model.tokenizer.options([("Is the river long?", ["yes", "no"])]))
    return score.logprobs


@peft_asks
def test_an_adapter_is_merged_into_the_weights(stored: Path, adapter: Path) -> None:
    """The scores are those of the adapted model as the package itself runs it, unmerged."""
    peft = pytest.importorskip("peft")
    base, merged = (load_model(ModelOptions(str(stored), peft=path)) for path in (None, str(adapter)))
    assert merged.describe().weights_digest != base.describe().weights_digest
    assert merged.describe().parameters == base.describe().parameters
    unmerged = peft.PeftModel.from_pretrained(make_model("opt"), adapter).eval()
    expected = reference_scores(unmerged, make_tokenizer("opt"), "Is the river long?", ["yes", "no"])
    assert sums(merged) == pytest.approx(expected, abs=1e-4)
    assert np.abs(np.subtract(sums(merged), sums(base))).max() > 1e-2


@peft_asks
def test_what_is_no_adapter_of_the_model(stored: Path, adapter: Path, tmp_path: Path) -> None:
    refused(ModelOptions(str(stored), peft=str(stored)), "no adapter_config.json")
    refused(ModelOptions(str(stored), peft=str(tmp_path / "missing")), "missing: no such folder")
    make_model("llama").save_pretrained(tmp_path / "llama")
    make_tokenizer("llama").save_pretrained(tmp_path / "llama")
    # It has layers of those names, elsewhere: the package itself warns and leaves the model as it is.
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps(config | {"target_modules": ["q_proj"]}))
    refused(ModelOptions(str(tmp_path / "llama"), peft=str(adapter)), "cannot be put on the model: .*missing")
    (adapter / "adapter_model.safetensors").unlink()
    refused(ModelOptions(str(stored), peft=str(adapter)), "cannot be put on the model")


@pytest.mark.parametrize("quantize", ["8bit", "4bit"])
def test_quantized_weights(quantize: str, tmp_path: Path) -> None:
    """On the CPU, too; the self-check allows for what 8 bits lose, and the record says how much that is."""
    pytest.importorskip("bitsandbytes")
    model = wide_model()
    model.save_pretrained(tmp_path)
    make_tokenizer("opt").save_pretrained(tmp_path)
    whole, small = (
        load_model(ModelOptions(str(tmp_path), device="cpu", quantize=how)) for how in (None, quantize)
    )
    assert small.describe().weights_bytes < 0.7 * whole.describe().weights_bytes
    assert small.describe().weights_digest != whole.describe().weights_digest
    assert 0 < small.describe().noise < 0.25
    assert sums(small) == pytest.approx(sums(whole), abs=3.0)
    assert sums(small) != sums(whole)


def wide_model() -> Any:
    """An OPT that is wide enough for blocks of 64 weights."""
    torch.manual_seed(0)
    return OPTForCausalLM(
        OPTConfig(
            vocab_size=480,
            hidden_size=128,
            word_embed_proj_dim=128,
            ffn_dim=256,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=512,
            init_std=0.2,
        )
    )


@pytest.mark.parametrize(
    ("package", "options"), [("peft", {"peft": "x"}), ("bitsandbytes", {"quantize": "4bit"})]
)
def test_a_missing_package_is_named(
    stored: Path, monkeypatch: pytest.MonkeyPatch, package: str, options: dict[str, str]
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MachineError, match=f"pip install {package}"):
        load_model(ModelOptions(str(stored), **options))


def test_a_tokenizer_without_offsets_or_padding_is_enough() -> None:
    """Nothing here pads with the tokenizer's token, and boundaries are found without offsets too."""
    tokenizer = merging_tokenizer()
    assert tokenizer.pad_token is None
    made = assemble(make_model("gpt2"), tokenizer, ModelOptions("m"))
    (request,) = made.tokenizer.options([("A:", ["yes", "no"])])
    assert request.merged == 2 and len(dict(made.score_options([request]))[0].logprobs) == 2
