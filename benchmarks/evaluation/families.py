"""Compares answers, not times, with lm-evaluation-harness on random tiny models of all families.

    benchmarks/.venv-lm-eval/bin/python benchmarks/evaluation/families.py

Runs in lm-evaluation-harness's environment (`compare.py` makes it). Prompts are few-shot, zero-shot and empty;
prints, for each family, the path taken, the largest difference per scored token in nats, and how many generated
texts (16 tokens, with a stop string) are equal.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

TOP = Path(__file__).parent.parent.parent
sys.path[:0] = [str(TOP), str(TOP / "tests" / "support")]

from lm_eval.api.instance import Instance  # noqa: E402
from lm_eval.models.huggingface import HFLM  # noqa: E402
from tiny_models import FAMILIES, WORDS, make_model, make_tokenizer  # noqa: E402

from evaluation.huggingface import assemble  # noqa: E402
from evaluation.models import ModelOptions  # noqa: E402

NEW_TOKENS, STOP = 16, "the"


def prompts(rng: random.Random) -> list[tuple[str, list[str]]]:
    """Prompts with their options; the last prompt is empty."""

    def text(words: int) -> str:
        return " ".join(rng.choice(WORDS) for _ in range(words))

    shown = text(60)
    few_shot = [f"{shown}\n\n\nQ: {text(rng.randint(1, 20))}?\nA:" for _ in range(20)]
    zero_shot = [text(rng.randint(1, 40)) for _ in range(10)]
    return [(prompt, [text(rng.randint(1, 5)) for _ in range(4)]) for prompt in [*few_shot, *zero_shot, ""]]


def theirs(name: str, rows: list[tuple[str, list[str]]]) -> tuple[list[float], list[str]]:
    """Log-likelihoods and texts by lm-evaluation-harness; it does not generate from an empty prompt."""
    model: Any = HFLM(
        pretrained=make_model(name), tokenizer=make_tokenizer.__wrapped__(name), batch_size=4, device="cpu"
    )
    pairs = [(prompt, " " + option) for prompt, options in rows for option in options]
    scores = model.loglikelihood(
        [Instance("loglikelihood", {}, pair, 0) for pair in pairs], disable_tqdm=True
    )
    settings = {"until": [STOP], "max_gen_toks": NEW_TOKENS, "do_sample": False}
    wanted = [Instance("generate_until", {}, (prompt, settings), 0) for prompt, _ in rows if prompt]
    return [score for score, _ in scores], model.generate_until(wanted, disable_tqdm=True)


def main() -> None:
    rows = prompts(random.Random(0))
    for name in FAMILIES:
        expected, texts = theirs(name, rows)
        model = assemble(make_model(name), make_tokenizer(name), ModelOptions(name))
        scores = dict(model.score_options(model.tokenizer.options(rows)))
        found = [
            pair
            for index in range(len(rows))
            for pair in zip(scores[index].logprobs, scores[index].tokens, strict=True)
        ]
        largest = max(
            abs(value - other) / count for (value, count), other in zip(found, expected, strict=True)
        )
        requests = model.tokenizer.prompts([prompt for prompt, _ in rows if prompt], NEW_TOKENS, [STOP])
        made = dict(model.generate(requests))
        same = sum(made[index].text == text for index, text in enumerate(texts))
        path = model.describe().path
        print(f"{name:10} {path:7} {largest:.0e} nats a token, {same}/{len(texts)} texts equal", flush=True)


if __name__ == "__main__":
    main()
