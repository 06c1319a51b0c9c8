"""A seeded permutation of ``[0, N)`` in O(1) memory, and the hashing that it is made of.

Every value here is fixed for ever: the order of a training run is a function of it.
``docs/order.md`` is the normative text; a change is a break of kind ORDER. No random generator of a
library takes part, only 64-bit integer arithmetic and XXH3 of texts.
"""

from collections.abc import Callable
from math import isqrt

import numpy as np
import xxhash
from numpy.typing import NDArray

from train_shards.errors import UserError

__all__ = [
    "MAX_SAMPLES",
    "CounterHash",
    "Permutation",
    "check_num_samples",
    "check_positions",
    "derive_key",
    "mix64",
    "mix64_many",
]

MAX_SAMPLES = 1 << 40
"""Largest N: halves of a position stay near 2^20, so their products with 40 bits fit 64."""

_NUM_ROUNDS, _NUM_ROUNDS_SMALL, _SMALL = 8, 24, 64
"""Rounds, and those for N below ``_SMALL``. Even, so that the halves end in their own places. Four
make a Feistel network of ideal functions pseudorandom for large N (Luby and Rackoff, 1988); below
64, 16 to 20 rounds were needed until all orders, and all pairs of images, came up equally often in
400,000 trials."""

_MASK = 0xFFFFFFFFFFFFFFFF
_FACTOR_1 = 0xBF58476D1CE4E5B9
_FACTOR_2 = 0x94D049BB133111EB
"""Source: SplitMix64's output function (Steele, Lea and Flood, OOPSLA 2014; constants of David
Stafford's "Mix13"), shifts 30, 27, 31."""
_BLOCK = 1 << 13
"""Positions that are worked on together, so that intermediate arrays stay in the cache."""


def mix64(value: int) -> int:
    """Returns a bijective scramble of 64 bits.

    >>> hex(mix64(0x9E3779B97F4A7C15))  # SplitMix64's first output for seed 0
    '0xe220a8397b1dcdaf'
    """
    value = ((value ^ (value >> 30)) * _FACTOR_1) & _MASK
    value = ((value ^ (value >> 27)) * _FACTOR_2) & _MASK
    return value ^ (value >> 31)


def mix64_many(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Returns ``mix64`` of each value; ``values`` is overwritten and returned."""
    shifted = values >> np.uint64(30)
    values ^= shifted
    values *= np.uint64(_FACTOR_1)
    np.right_shift(values, np.uint64(27), out=shifted)
    values ^= shifted
    values *= np.uint64(_FACTOR_2)
    np.right_shift(values, np.uint64(31), out=shifted)
    values ^= shifted
    return values


def derive_key(seed: int, epoch: int, stream: str, number: int) -> int:
    """Returns the 64-bit key number ``number`` of a stream of an epoch.

    >>> derive_key(0, 0, "global", 0) == derive_key(0, 1, "global", 0)
    False
    """
    return xxhash.xxh3_64_intdigest(f"{seed}:{epoch}:{number}:{stream}".encode())


def check_num_samples(num_samples: int) -> int:
    """Returns ``num_samples``.

    Raises:
        UserError: it is not in ``[1, MAX_SAMPLES]``.
    """
    if not 1 <= num_samples <= MAX_SAMPLES:
        raise UserError(f"num_samples {num_samples}: expected 1 to {MAX_SAMPLES}.")
    return num_samples


def check_positions(positions: NDArray[np.integer], num_samples: int) -> NDArray[np.int64]:
    """Returns a copy of the positions.

    Raises:
        IndexError: a position outside ``[0, num_samples)``.
    """
    if positions.size and (positions.min() < 0 or positions.max() >= num_samples):
        raise IndexError(
            f"positions {positions.min()} to {positions.max()}: expected 0 to {num_samples - 1}"
        )
    return positions.astype(np.int64)


class Permutation:
    """A bijection on ``[0, num_samples)`` chosen by (seed, epoch, stream, tweak).

    A Feistel network on pairs ``(left, right)`` of ``[0, a) x [0, b)``, where ``a`` is the square
    root of N rounded up to an even number and ``b = ceil(N / a)``; additions modulo ``a`` and ``b``
    take the place of exclusive or. Images outside ``[0, N)`` are permuted again (cycle-walking).
    Fewer than ``a`` pairs lie outside, so that a second pass is rare, about one in ``sqrt(N)``.
    Source: Black and Rogaway, "Ciphers with Arbitrary Finite Domains", CT-RSA 2002.

    Not a cipher: who sees enough of the order can predict it.
    """

    def __init__(self, num_samples: int, *, seed: int, epoch: int, stream: str) -> None:
        """Derives the round keys.

        Raises:
            UserError: ``num_samples`` is not in ``[1, MAX_SAMPLES]``.
        """
        self.num_samples = check_num_samples(num_samples)
        # Even, because odd times odd would leave out every odd permutation.
        self._num_left = 2 * ((isqrt(num_samples - 1) + 2) // 2)
        self._num_right = -(-num_samples // self._num_left)
        num_rounds = _NUM_ROUNDS_SMALL if num_samples < _SMALL else _NUM_ROUNDS
        self._keys = tuple(derive_key(seed, epoch, stream, i) for i in range(num_rounds))

    def permute(self, position: int, tweak: int = 0) -> int:
        """Returns the image of ``position``; another ``tweak`` is another permutation.

        Raises:
            IndexError: no such position.
        """
        return self._walk(position, tweak, self._forward)

    def invert(self, image: int, tweak: int = 0) -> int:
        """Returns the position whose image is ``image``.

        >>> permutation = Permutation(1000, seed=7, epoch=0, stream="x")
        >>> permutation.invert(permutation.permute(123))
        123
        """
        return self._walk(image, tweak, self._backward)

    def permute_many(
        self, positions: NDArray[np.integer], tweaks: NDArray[np.integer] | None = None
    ) -> NDArray[np.int64]:
        """Returns the image of each position, shape ``(n,)``, equal to ``permute`` of each.

        Args:
            positions: ``(n,)`` integers in ``[0, num_samples)``, in any order.
            tweaks: ``(n,)``, one for each position; None for 0.

        Raises:
            IndexError: a position outside.
        """
        values = check_positions(positions, self.num_samples).view(np.uint64)
        offsets = None if tweaks is None else mix64_many(tweaks.astype(np.uint64))
        for start in range(0, len(values), _BLOCK):
            part = slice(start, start + _BLOCK)
            values[part] = self._walk_block(
                values[part], None if offsets is None else offsets[part]
            )
        return values.view(np.int64)

    def _walk(self, value: int, tweak: int, step: Callable[[int, int], int]) -> int:
        if not 0 <= value < self.num_samples:
            raise IndexError(f"position {value}: expected 0 to {self.num_samples - 1}")
        offset = mix64(tweak & _MASK)
        value = step(value, offset)
        while value >= self.num_samples:
            value = step(value, offset)
        return value

    def _forward(self, value: int, offset: int) -> int:
        num_this, num_other = self._num_left, self._num_right
        this, other = divmod(value, num_other)
        for key in self._keys:
            # mix64, written out: the call would cost as much as its work
            bits = (other + key + offset) & _MASK
            bits = ((bits ^ (bits >> 30)) * _FACTOR_1) & _MASK
            bits = ((bits ^ (bits >> 27)) * _FACTOR_2) & _MASK
            # bits 24 to 63 of the hash, scaled to [0, num_this)
            this += (((bits ^ (bits >> 31)) >> 24) * num_this) >> 40
            if this >= num_this:
                this -= num_this
            this, other, num_this, num_other = other, this, num_other, num_this
        return this * num_other + other

    def _backward(self, value: int, offset: int) -> int:
        num_this, num_other = self._num_left, self._num_right
        this, other = divmod(value, num_other)
        for key in reversed(self._keys):
            this, other, num_this, num_other = other, this, num_other, num_this
            this -= ((mix64((other + key + offset) & _MASK) >> 24) * num_this) >> 40
            if this < 0:
                this += num_this
        return this * num_other + other

    def _walk_block(
        self, values: NDArray[np.uint64], offsets: NDArray[np.uint64] | None
    ) -> NDArray[np.uint64]:
        values = self._forward_block(values, offsets)
        outside = np.nonzero(values >= self.num_samples)[0]
        while len(outside):
            values[outside] = self._forward_block(
                values[outside], None if offsets is None else offsets[outside]
            )
            outside = outside[values[outside] >= self.num_samples]
        return values

    def _forward_block(
        self, values: NDArray[np.uint64], offsets: NDArray[np.uint64] | None
    ) -> NDArray[np.uint64]:
        num_this, num_other = np.uint64(self._num_left), np.uint64(self._num_right)
        this, other = np.divmod(values, num_other)
        for key in self._keys:
            bits = other + np.uint64(key)
            if offsets is not None:
                bits += offsets
            bits = mix64_many(bits)
            bits >>= np.uint64(24)
            bits *= num_this
            bits >>= np.uint64(40)
            this += bits
            # this < 2 * num_this; below num_this the difference wraps to a huge number
            np.minimum(this, this - num_this, out=this)
            this, other, num_this, num_other = other, this, num_other, num_this
        return this * num_other + other


class CounterHash:
    """Random numbers by position: a function of (seed, epoch, stream, position), without state."""

    def __init__(self, *, seed: int, epoch: int, stream: str) -> None:
        self._keys = derive_key(seed, epoch, stream, 0), derive_key(seed, epoch, stream, 1)

    def bits(self, position: int) -> int:
        """Returns 64 random bits."""
        return mix64(mix64((position + self._keys[0]) & _MASK) ^ self._keys[1])

    def bits_many(self, positions: NDArray[np.integer]) -> NDArray[np.uint64]:
        """Returns 64 random bits for each position, equal to ``bits`` of each."""
        first = mix64_many(positions.astype(np.uint64) + np.uint64(self._keys[0]))
        return mix64_many(first ^ np.uint64(self._keys[1]))

    def below(self, position: int, bound: int) -> int:
        """Returns a random number in ``[0, bound)``: the upper half of ``bits * bound``.

        No number is more likely than another by more than ``bound / 2^64``.
        """
        return (self.bits(position) * bound) >> 64

    def below_many(
        self, positions: NDArray[np.integer], bounds: int | NDArray[np.integer]
    ) -> NDArray[np.int64]:
        """Returns ``below`` of each position, with one bound or one for each."""
        low_bits, half = np.uint64(0xFFFFFFFF), np.uint64(32)
        bits, bound = self.bits_many(positions), np.asarray(bounds).astype(np.uint64)
        # 64 x 64 -> upper 64 bits, from four products of 32-bit halves
        bits_low, bits_high = bits & low_bits, bits >> half
        bound_low, bound_high = bound & low_bits, bound >> half
        middle = bits_high * bound_low + ((bits_low * bound_low) >> half)
        carry = bits_low * bound_high + (middle & low_bits)
        upper: NDArray[np.uint64] = bits_high * bound_high + (middle >> half) + (carry >> half)
        return upper.view(np.int64)
