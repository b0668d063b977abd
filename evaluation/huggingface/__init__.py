"""Causal language models of `transformers`: the only package that imports torch.

hub          where a name leads, and whether the Hub can be reached
loading      a model and its tokenizer from the Hub or a folder, and what is wrong with them
tokenizer    text to requests; `pieces` encodes what texts share once
passes       the forward passes; `attention` and `cache` hold the prefix that rows share
scoring      requests to log-likelihoods
generating   requests to text
selfcheck    whether the shared path gives what the bare model gives
memory       how much one pass may hold
model        the protocol of `evaluation.models`, over all of these
"""

from evaluation.huggingface.assembly import assemble, load_huggingface, load_tokenizer
from evaluation.huggingface.builtin import load_tiny_opt, load_tiny_opt_tokenizer
from evaluation.huggingface.model import HuggingFaceModel

__all__ = [
    "HuggingFaceModel",
    "assemble",
    "load_huggingface",
    "load_tiny_opt",
    "load_tiny_opt_tokenizer",
    "load_tokenizer",
]
