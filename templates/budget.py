"""What one rendering may cost: a budget of work, so that no template runs away.

Every loop step and call has a price and every text costs its length; where an operation could make a large
text of small ones, the price is asked before the operation is carried out. The limits are therefore the same
on every machine and in every thread. A clock is looked at too, but only by renderings that have used up a
good part of their budget: a backstop for operations whose price says too little.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

from task_registry.hashing import hash64

MAX_TEXT = 10_000_000
"""Characters that a rendering may put out, or hold in one string."""
MAX_WORK = 100_000_000
"""What a rendering may spend: a character costs 1, a loop step, a call or an element of a list `STEP`."""
STEP = 100
MAX_SECONDS = 5.0
"""How long a rendering may take, counted from its first look at the clock on."""
UNWATCHED_WORK = 1_000_000
"""How much may be spent before the first look at the clock."""
MAX_BITS = 10_000
"""Bits of a whole number: to divide long ones takes the square of their length."""
MAX_DIGITS = 100
"""The widest number or precision that a template may ask for in a format or when it rounds."""

_WIDTH = re.compile(r"%(?:\([^)]*\))?[-+ #0]*(\*|\d*)(?:\.(\*|\d*))?")


class OverBudgetError(Exception):
    """A rendering that would not end or would grow beyond all measure; its text says what was found."""


class Budget:
    """The work that is left to one rendering, and its draws."""

    __slots__ = ("_draws", "_key", "_next_look", "_started", "left")

    def __init__(self, key: Callable[[], str]) -> None:
        """Start with the whole of `MAX_WORK`; the draws depend on `key()`, which is asked only if there are any."""
        self.left = MAX_WORK
        self._next_look = MAX_WORK - UNWATCHED_WORK
        self._started = 0.0
        self._draws, self._key = 0, key

    def spend(self, work: int) -> None:
        """Take `work` away; raises OverBudgetError where too little is left."""
        self.left -= work
        if self.left < self._next_look:
            self._look()

    def ask(self, characters: int) -> None:
        """Pay for a text before it is made; raises OverBudgetError where it would be too long."""
        if characters > MAX_TEXT:
            raise too_long(characters)
        self.spend(characters)

    def draw(self, count: int) -> int:
        """Draw an index below `count`, by hash of the key and of how many draws went before."""
        self._draws += 1
        return hash64(self._key(), str(self._draws)) % count

    def _look(self) -> None:
        if self.left < 0:
            raise OverBudgetError("a rendering that does not come to an end")
        now = time.monotonic()
        self._started = self._started or now
        if now - self._started > MAX_SECONDS:
            raise OverBudgetError(f"a rendering that takes longer than {MAX_SECONDS:g} seconds")
        self._next_look = self.left - UNWATCHED_WORK // 50


def too_long(characters: int) -> OverBudgetError:
    """The error of a text that is too long."""
    return OverBudgetError(f"a text of {characters:,} characters (at most {MAX_TEXT:,})")


def add(budget: Budget, left: Any, right: Any) -> Any:
    """`left + right`, paid for."""
    if isinstance(left, str) and isinstance(right, str):
        budget.ask(len(left) + len(right))
    elif isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
        weigh(budget, left)
        weigh(budget, right)
    return left + right


def multiply(budget: Budget, left: Any, right: Any) -> Any:
    """`left * right`, paid for: text and lists by what they become; whole numbers must not get too long."""
    for count, repeated in ((left, right), (right, left)):
        if isinstance(count, int) and isinstance(repeated, str):
            budget.ask(max(count, 0) * len(repeated))
        elif isinstance(count, int) and isinstance(repeated, (list, tuple)):
            before = budget.left
            weigh(budget, repeated)
            budget.spend(max(count, 0) * (before - budget.left))
    if isinstance(left, int) and isinstance(right, int):
        _fits(left.bit_length() + right.bit_length())
    return left * right


def power(budget: Budget, base: Any, exponent: Any) -> Any:
    """`base ** exponent`, where a whole power is not too long."""
    if isinstance(base, int) and isinstance(exponent, int):
        _fits(base.bit_length() * abs(exponent))
    return base**exponent


def _fits(bits: int) -> None:
    if bits > MAX_BITS:
        raise OverBudgetError(f"a number of {bits:,} bits (at most {MAX_BITS:,})")


def percent(budget: Budget, pattern: Any, values: Any) -> Any:
    """`pattern % values`, paid for; raises OverBudgetError where a format is wider than `MAX_DIGITS`."""
    if not isinstance(pattern, str):
        return pattern % values
    for widths in _WIDTH.findall(pattern):
        for width in widths:
            if width == "*" or (width and (len(width) > 4 or int(width) > MAX_DIGITS)):
                raise OverBudgetError(f"the width {width[:20]} in a format (at most {MAX_DIGITS})")
    budget.spend(len(pattern))
    weigh(budget, values)
    text: str = pattern % values
    budget.ask(len(text))
    return text


def weigh(budget: Budget, value: Any) -> None:
    """Pay for all that a container holds: a few lists can share their parts, and print or compare endlessly."""
    left = [value]
    while left:
        item = left.pop()
        if isinstance(item, dict):
            budget.spend(2 * STEP * len(item))
            left.extend(item)
            left.extend(item.values())
        elif isinstance(item, (list, tuple)):
            budget.spend(STEP * len(item))
            left.extend(item)
        else:
            # An undefined value raises here; in the text of a list it would pass as a word.
            budget.spend(len(item if type(item) is str else str(item)))
