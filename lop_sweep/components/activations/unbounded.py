"""Activations that grow without bound on at least one side: the identity and the rectifiers.

At a kink, derivatives are those of PyTorch: the value at z = 0 is stated with each formula.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from lop_sweep.array_api import Array, array_namespace, erf
from lop_sweep.components.activations.activation import BaseActivation
from lop_sweep.components.activations.bounded import logistic
from lop_sweep.registry import register

if TYPE_CHECKING:
    import torch

LEAK = 0.01
"""Slope of `leaky_relu` for z <= 0."""
SELU_SCALE = 1.0507009873554804934193349852946
SELU_ALPHA = 1.6732632423543772848170429916717
"""Constants of `selu`: with them, mean 0 and variance 1 are a fixed point."""
_RELU_GAIN = math.sqrt(2)
_NEAR_ZERO = 1e-30
"""|z| below which a / z is not computed, because a may have lost digits or be zero. It is normal in float32."""


@register("activation", "identity")
class Identity(BaseActivation):
    """a = z: a linear network, the control."""

    keeps_z = False

    def value(self, z: Array) -> Array:
        """Return z itself."""
        return z

    def backward(self, error: Array, z: Array | None, a: Array) -> Array:
        """Return `error` itself."""
        return error

    def torch(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """Return `torch.nn.Identity`."""
        import torch

        return torch.nn.Identity()


@register("activation", "relu")
class ReLU(BaseActivation):
    """The rectified linear unit a = max(z, 0), with f'(z) = 1 for z > 0, else 0.

    Source: V. Nair and G. E. Hinton, "Rectified linear units improve restricted Boltzmann machines", ICML 2010.
    """

    keeps_z = False
    gain = _RELU_GAIN

    def value(self, z: Array) -> Array:
        """Return the larger of z and 0."""
        return _positive_part(z)

    def backward(self, error: Array, z: Array | None, a: Array) -> Array:
        """Return `error` where a > 0, else 0, in its memory."""
        error *= _is_positive(a)
        return error

    def torch(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """Return `torch.relu`."""
        import torch

        return torch.relu


@register("activation", "leaky_relu")
class LeakyReLU(BaseActivation):
    """a = max(z, 0.01 z), with f'(z) = 1 for z > 0, else 0.01.

    Source: A. L. Maas, A. Y. Hannun and A. Y. Ng, "Rectifier nonlinearities improve neural network acoustic models",
    ICML 2013.
    """

    keeps_z = False
    gain = math.sqrt(2 / (1 + LEAK**2))

    def value(self, z: Array) -> Array:
        """Return the larger of z and 0.01 z."""
        return array_namespace(z).maximum(z, LEAK * z)

    def backward(self, error: Array, z: Array | None, a: Array) -> Array:
        """Return `error` where a > 0, else 0.01 `error`, in its memory."""
        slope = _is_positive(a)
        slope *= 1 - LEAK
        slope += LEAK
        error *= slope
        return error

    def torch(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """Return `torch.nn.LeakyReLU` with this slope."""
        import torch

        return torch.nn.LeakyReLU(LEAK)


@register("activation", "crelu")
class CReLU(BaseActivation):
    """Two features per unit, a = [max(z, 0), max(-z, 0)]: first those of all units, then the negative ones.

    The next layer has twice as many inputs. f' of the first is 1 for z > 0, that of the second -1 for z < 0, else 0.

    Source: W. Shang et al., "Understanding and improving convolutional neural networks via concatenated rectified
    linear units", ICML 2016. Against loss of plasticity: Z. Abbas et al., "Loss of plasticity in continual deep
    reinforcement learning", CoLLAs 2023.
    """

    expansion = 2
    keeps_z = False
    gain = _RELU_GAIN

    def value(self, z: Array) -> Array:
        """Return both parts side by side."""
        return _positive_part(array_namespace(z).concat([z, -z], axis=-1))

    def backward(self, error: Array, z: Array | None, a: Array) -> Array:
        """Return the first half of `error` where z > 0, minus the second half where z < 0."""
        error *= _is_positive(a)
        units = a.shape[-1] // 2
        return error[..., :units] - error[..., units:]

    def torch(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """Return `torch.relu` of z and of -z, side by side."""
        import torch

        return lambda z: torch.cat([torch.relu(z), torch.relu(-z)], dim=-1)


@register("activation", "elu")
class ELU(BaseActivation):
    """The exponential linear unit a = z for z > 0, else exp(z) - 1; f'(z) = 1 for z > 0, else exp(z) = a + 1.

    Source: D.-A. Clevert, T. Unterthiner and S. Hochreiter, "Fast and accurate deep network learning by exponential
    linear units (ELUs)", ICLR 2016, with alpha = 1.
    """

    keeps_z = False
    gain = _RELU_GAIN

    def value(self, z: Array) -> Array:
        """Return max(z, 0) + expm1(min(z, 0))."""
        positive = _positive_part(z)
        a = array_namespace(z).expm1(z - positive)
        a += positive
        return a

    def backward(self, error: Array, z: Array | None, a: Array) -> Array:
        """Return error * (min(a, 0) + 1), in the memory of `error`."""
        slope = array_namespace(a).minimum(a, _zero(a))
        slope += 1
        error *= slope
        return error

    def torch(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """Return `torch.nn.functional.elu`."""
        import torch

        return torch.nn.functional.elu


@register("activation", "selu")
class SELU(BaseActivation):
    """a = s z for z > 0, else s alpha (exp(z) - 1); f'(z) = s for z > 0, else s alpha exp(z) = a + s alpha.

    s = 1.0507... and alpha = 1.6732... The gain for initialisers is PyTorch's, 3/4.

    Source: G. Klambauer et al., "Self-normalizing neural networks", NeurIPS 2017.
    """

    keeps_z = False
    gain = 3 / 4

    def value(self, z: Array) -> Array:
        """Return s max(z, 0) + s alpha expm1(min(z, 0))."""
        positive = _positive_part(z)
        a = array_namespace(z).expm1(z - positive)
        a *= SELU_SCALE * SELU_ALPHA
        positive *= SELU_SCALE
        a += positive
        return a

    def backward(self, error: Array, z: Array | None, a: Array) -> Array:
        """Return error * (min(a, 0) + s alpha, or s where a > 0), in the memory of `error`."""
        slope = _is_positive(a)
        slope *= SELU_SCALE - SELU_SCALE * SELU_ALPHA
        slope += array_namespace(a).minimum(a, _zero(a))
        slope += SELU_SCALE * SELU_ALPHA
        error *= slope
        return error

    def torch(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """Return `torch.nn.functional.selu`."""
        import torch

        return torch.nn.functional.selu


@register("activation", "gelu")
class GELU(BaseActivation):
    """The Gaussian error linear unit a = z P(z), exact; f'(z) = P(z) + z exp(-z^2 / 2) / sqrt(2 pi).

    P(z) = (1 + erf(z / sqrt(2))) / 2 is the normal distribution function.

    Source: D. Hendrycks and K. Gimpel, "Gaussian error linear units (GELUs)", arXiv 1606.08415, 2016.
    """

    gain = _RELU_GAIN

    def value(self, z: Array) -> Array:
        """Return z / 2 (1 + erf(z / sqrt(2)))."""
        a = erf(z * math.sqrt(0.5))
        a += 1
        a *= 0.5 * z
        return a

    def backward(self, error: Array, z: Array | None, a: Array) -> Array:
        """Return error * (P(z) + z exp(-z^2 / 2) / sqrt(2 pi)), in the memory of `error`.

        P(z) = a / z, and 1/2 near zero, takes a fifth of the time of another erf.
        """
        assert z is not None
        xp = array_namespace(z)
        near_zero = xp.astype(xp.abs(z) < _NEAR_ZERO, z.dtype)
        probability = 0.5 * near_zero
        probability += a
        near_zero += z
        probability /= near_zero
        exponent = z * z
        exponent *= -0.5
        slope = xp.exp(exponent)
        slope *= z
        slope *= 1 / math.sqrt(2 * math.pi)
        slope += probability
        error *= slope
        return error

    def torch(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """Return `torch.nn.functional.gelu`, whose default is the exact one."""
        import torch

        return torch.nn.functional.gelu


@register("activation", "silu")
class SiLU(BaseActivation):
    """a = z p with p = 1 / (1 + exp(-z)), also called swish; f'(z) = p + a (1 - p).

    Source: S. Elfwing, E. Uchibe and K. Doya, "Sigmoid-weighted linear units for neural network function approximation
    in reinforcement learning", Neural Networks 107, 2018.
    """

    gain = _RELU_GAIN

    def value(self, z: Array) -> Array:
        """Return z / (1 + exp(-z)). Where exp overflows, infinity leads to the right limit."""
        a = array_namespace(z).exp(-z)
        a += 1
        return z / a

    def backward(self, error: Array, z: Array | None, a: Array) -> Array:
        """Return error * (p + a (1 - p)), in the memory of `error`."""
        assert z is not None
        p = logistic(z)
        slope = 1 - p
        slope *= a
        slope += p
        error *= slope
        return error

    def torch(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """Return `torch.nn.functional.silu`."""
        import torch

        return torch.nn.functional.silu


def _zero(array: Array) -> Array:
    return array_namespace(array).zeros((), dtype=array.dtype, device=array.device)


def _positive_part(z: Array) -> Array:
    """Return max(z, 0) as a new array, NaN where z is NaN."""
    return array_namespace(z).maximum(z, _zero(z))


def _is_positive(a: Array) -> Array:
    """Return 1 where a > 0, else 0, in the dtype of a."""
    return array_namespace(a).astype(a > 0, a.dtype)
