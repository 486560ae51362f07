"""The random numbers of scripts."""

from __future__ import annotations

from math import cos, log, pi, sqrt

from gsrt.scripts.arguments import INT_MAX, real, refusal, whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gsrt.scripts.capabilities import Common

RANDOM_ELEMENTS_MAX = 20_000


class Random:
    """Random numbers, the same again whenever the session is replayed: `session.random`."""

    __slots__ = ("_bits", "_capabilities", "_unit")

    def __init__(self, capabilities: Common) -> None:
        # The generator behind random.Random: that module would bring half a megabyte, during a callback that is
        # charged for it; and its choices from the generator's bits are another version's to change.
        from _random import Random as Generator

        generator = Generator(capabilities.seed)
        self._capabilities = capabilities
        self._unit = generator.random
        self._bits = generator.getrandbits

    def __repr__(self) -> str:
        return "<random>"

    def random(self) -> float:
        """A number from 0 up to, not including, 1."""
        return self._unit()

    def randint(self, a: int, b: int) -> int:
        """A whole number from A to B, both included. Raises TypeError, ValueError (none between, beyond 64 bits)."""
        whole("a", a, -INT_MAX, INT_MAX)
        whole("b", b, a, INT_MAX)
        return a + self._below(b - a + 1)

    def uniform(self, a: float, b: float) -> float:
        """A number between A and B. Raises TypeError, ValueError."""
        first, last = real("a", a), real("b", b)
        return first + (last - first) * self._unit()

    def choice(self, sequence: Any) -> Any:
        """One element of a list, tuple, range or text. Raises TypeError, ValueError (there is none in it)."""
        if type(sequence) not in (list, tuple, range, str):
            raise refusal(TypeError, "sequence", "a list, tuple, range or text", sequence)
        if not sequence:
            raise ValueError("sequence: there is nothing in it to choose from")
        return sequence[self._below(len(sequence))]

    def shuffle(self, elements: list[Any]) -> None:
        """Brings a list (of at most 20000 elements) into a random order, in place. Raises TypeError, ValueError."""
        if type(elements) is not list:
            raise refusal(TypeError, "elements", "a list", elements)
        self._charge(len(elements))
        for last in range(len(elements) - 1, 0, -1):
            chosen = self._below(last + 1)
            elements[last], elements[chosen] = elements[chosen], elements[last]

    def sample(self, elements: Any, count: int) -> list[Any]:
        """COUNT different elements of a list or tuple (of at most 20000), in random order, as a new list.

        Raises TypeError, ValueError (there are fewer)."""
        if type(elements) is not list and type(elements) is not tuple:
            raise refusal(TypeError, "elements", "a list or tuple", elements)
        whole("count", count, 0, len(elements))
        self._charge(len(elements))
        pool = list(elements)
        for place in range(count):
            chosen = place + self._below(len(pool) - place)
            pool[place], pool[chosen] = pool[chosen], pool[place]
        del pool[count:]
        return pool

    def gauss(self, mu: float, sigma: float) -> float:
        """A number of the normal distribution around MU with the standard deviation SIGMA (not below 0).

        Raises TypeError, ValueError."""
        middle, deviation = real("mu", mu), real("sigma", sigma)
        if deviation < 0:
            raise refusal(ValueError, "sigma", "a number not below 0", sigma)
        distance = sqrt(-2.0 * log(1.0 - self._unit()))
        return middle + deviation * distance * cos(2.0 * pi * self._unit())

    def _below(self, bound: int) -> int:
        """A whole number from 0 up to, not including, BOUND; each as likely as any other."""
        width = (bound - 1).bit_length()
        if width == 0:
            return 0
        number = self._bits(width)
        while number >= bound:
            number = self._bits(width)
        return number

    def _charge(self, elements: int) -> None:
        if elements > RANDOM_ELEMENTS_MAX:
            raise ValueError(f"elements: at most {RANDOM_ELEMENTS_MAX}, not {elements}")
        self._capabilities.charge(elements // 4)  # a dearer step than just walking past
