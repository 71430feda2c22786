"""Places on the axes of plots that Python draws."""

from dataclasses import dataclass
from math import ceil, floor, log10, sqrt

#: Of each power of ten, what a tick may be a multiple of.
_STEPS = (1, 2, 5, 10)


@dataclass(frozen=True, kw_only=True)
class Scale:
    """An axis: values from `low` to `high` lie between the places `start` and `end`."""

    low: float
    high: float
    start: float
    end: float
    #: By their square root, so that small values lie further apart; none is below 0.
    is_root: bool = False

    def __call__(self, value: float) -> float:
        """The place of a value, in tenths of a pixel. What lies beyond an end of the axis lies on it."""
        along = min(max((self._along(value) - self._along(self.low)) / self._length, 0.0), 1.0)
        return round(self.start + along * (self.end - self.start), 1)

    def ticks(self, count: int = 5) -> list[float]:
        """Round values between both ends, about `count` of them."""
        rough = (self.high - self.low) / count
        power = 10 ** floor(log10(rough))
        step = power * next(factor for factor in _STEPS if factor * power >= rough * 0.999)
        first, last = ceil(self.low / step - 1e-9), floor(self.high / step + 1e-9)
        return [round(place * step, 9) + 0.0 for place in range(first, last + 1)]

    @property
    def _length(self) -> float:
        return self._along(self.high) - self._along(self.low)

    def _along(self, value: float) -> float:
        return sqrt(max(0.0, value)) if self.is_root else value
