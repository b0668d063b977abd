"""What a run has to know of a loaded model, in a record that crosses process and machine boundaries.

The model itself may be on another machine, or be many: each introduces itself, and those that answer for one run
must agree in all that decides predictions.
"""

from __future__ import annotations

import json
import platform
from dataclasses import dataclass

from evaluation.models import LanguageModel, ModelRecord
from evaluation.records import plain
from task_registry.hashing import text_digest

_PROBE = "The ferry leaves at 7:45, naïve Übermut aside.\n\nOutput:  (a) 東京 's"
"""Whose tokens tell one tokenizer from another."""
_DECISIVE = (
    "weights_digest",
    "dtype",
    "architecture",
    "max_length",
    "vocabulary",
    "bos",
    "eos",
    "path",
    "row_tokens",
)


@dataclass(frozen=True, slots=True)
class Introduction:
    """A loaded model's facts, and where it is."""

    model: ModelRecord
    tokenizer: str
    """Digest of the token ids of a fixed text."""
    accelerator: str
    """The GPUs that it sees, in words."""
    host: str

    def decisive(self) -> dict[str, str]:
        """What decides predictions, in words by its name."""
        return decisive(self.model, self.tokenizer)

    def difference(self, other: Introduction) -> str:
        """The first decisive fact in which another model is not as this one, in words; empty if there is none."""
        mine, theirs = self.decisive(), other.decisive()
        return next(
            (f"{name} {theirs[name]}, not {mine[name]}" for name in mine if mine[name] != theirs[name]), ""
        )


def introduce(model: LanguageModel, accelerator: str = "") -> Introduction:
    """Let a model introduce itself."""
    (probe,) = model.tokenizer.prompts([_PROBE])
    tokens = text_digest(*map(str, probe.prompt.tolist()))
    return Introduction(model.describe(), tokens, accelerator, platform.node())


def decisive(model: ModelRecord, tokenizer: str) -> dict[str, str]:
    """The facts of a model that decide its predictions, in words by their names; of its device the kind alone."""
    found = {name: shown(getattr(model, name)) for name in _DECISIVE}
    return found | {"device": model.device.partition(":")[0], "tokenizer": tokenizer}


def shown(value: object) -> str:
    """A value as a record of a run shows it."""
    return json.dumps(plain(value), ensure_ascii=False)
