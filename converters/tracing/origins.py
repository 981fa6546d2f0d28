"""Where the unknown size of a tensor seems to come from: a guess while tracing, which lowering checks by names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from keras import KerasTensor


@dataclass
class Origins:
    """Of tensors with one unknown size: which tensor's size it is a multiple of, and how many times that.

    ``(4 * batch, 3, 3)`` windows of images ``(batch, 6, 6)`` are 4 times the images' size.
    """

    found: dict[int, tuple[int, Fraction]] = field(default_factory=dict)

    def of(self, x: Any) -> tuple[int, Fraction]:
        """The tensor, by its id, and the times."""
        return self.found.get(id(x), (id(x), Fraction(1)))

    def carry(self, inputs: Sequence[Any], outputs: Sequence[Any], *, reshaped: bool) -> None:
        """Notes of an operation's outputs that their unknown size is the one of all its inputs.

        ``reshaped``: the first input alone counts, and an output has as many elements as that.
        """
        open_ = [x for x in inputs if _has_one_unknown(x)][: 1 if reshaped else None]
        origins = {self.of(x) for x in open_}
        if len(origins) != 1:
            return
        ((root, times),) = origins
        for output in outputs:
            if _has_one_unknown(output):
                more = Fraction(_elements(open_[0]), _elements(output) or 1) if reshaped else 1
                self.found[id(output)] = root, times * more


def _has_one_unknown(x: Any) -> bool:
    return isinstance(x, KerasTensor) and x.shape.count(None) == 1


def _elements(x: Any) -> int:
    """An unknown size counts as one."""
    return math.prod(1 if size is None else size for size in x.shape)
