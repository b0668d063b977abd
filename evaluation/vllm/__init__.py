"""Causal language models behind vLLM, for those that need tensor parallelism: the same requests and answers.

Prompts go in as the token ids that the transformers backend would be given, vLLM itself loads no tokenizer; where
an output ends is decided by the same code. vLLM is imported when a model is loaded, and nowhere else.

calls     what vLLM is asked, and what its answers hold
model     the protocol of `evaluation.models`, over calls under way
loading   a stored model with vLLM, and the facts of its record
"""

from evaluation.vllm.loading import load_vllm
from evaluation.vllm.model import VllmModel

__all__ = ["VllmModel", "load_vllm"]
