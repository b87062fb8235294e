"""Normalisations of a hidden layer, between its affine map and its activation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from lop_sweep.array_api import Array, array_namespace
from lop_sweep.config import NONE, CellConfig
from lop_sweep.errors import ConfigError
from lop_sweep.registry import register

if TYPE_CHECKING:
    from torch import nn

EPSILON = 1e-5
"""Added to the variance by which values are divided."""


class Norm(Protocol):
    """A map from z to values of the same shape, with parameters of its own or none.

    Shapes: z is (P, n, h); each parameter is (P, 1, h).

    Attributes:
        name: what a configuration calls it.
        hyper: the configuration fields that it uses.
    """

    name: str
    hyper: tuple[str, ...]

    def init(self, z: Array) -> dict[str, Array]:
        """Return the initial parameters by name, for z of this shape, (P, 1, h); empty if it has none."""
        ...

    def forward(self, z: Array, parameters: dict[str, Array]) -> tuple[Array, Any]:
        """Return the normalised values, and what `backward` needs. `z` may be overwritten."""
        ...

    def backward(self, error: Array, parameters: dict[str, Array], kept: Any) -> tuple[Array, dict[str, Array]]:
        """Return the derivatives by z and by each parameter, from `error`, that by the normalised values.

        `error` may be overwritten.
        """
        ...

    def torch(self, width: int, config: CellConfig) -> nn.Module:
        """Return the reference's module, in training mode, for layers of `width` units."""
        ...


@register("norm", NONE)
class NoNorm:
    """No normalisation."""

    name: str
    hyper: tuple[str, ...] = ()

    def init(self, z: Array) -> dict[str, Array]:
        """Return no parameters."""
        return {}

    def forward(self, z: Array, parameters: dict[str, Array]) -> tuple[Array, Any]:
        """Return z itself."""
        return z, None

    def backward(self, error: Array, parameters: dict[str, Array], kept: Any) -> tuple[Array, dict[str, Array]]:
        """Return the error itself."""
        return error, {}

    def torch(self, width: int, config: CellConfig) -> nn.Module:
        """Return `torch.nn.Identity`."""
        from torch import nn

        return nn.Identity()


class Standardisation:
    """Base of normalisations: u = (z - m) / sqrt(v + 1e-5), with m and v the mean and variance of z over some axis.

    With a learnt scale and shift, the result is scale * u + shift. Means are products with a vector of 1 / n, which
    take a fraction of the time that NumPy's `mean` takes.
    """

    name: str
    hyper: tuple[str, ...] = ()
    affine = True

    def mean(self, array: Array) -> Array:
        """Return means over the axis, (P, n, 1) or (P, 1, h)."""
        raise NotImplementedError

    def init(self, z: Array) -> dict[str, Array]:
        """Return a scale of one and a shift of zero, if they are learnt."""
        xp = array_namespace(z)
        return {"scale": xp.ones_like(z), "shift": xp.zeros_like(z)} if self.affine else {}

    def forward(self, z: Array, parameters: dict[str, Array]) -> tuple[Array, Any]:
        """Return scale * u + shift, or u, and for `backward` u and 1 / sqrt(v + 1e-5). u is in the memory of z."""
        z -= self.mean(z)
        inverse = 1 / array_namespace(z).sqrt(self.mean(z * z) + EPSILON)
        z *= inverse
        if not parameters:
            return z, (z, inverse)
        scaled = z * parameters["scale"]
        scaled += parameters["shift"]
        return scaled, (z, inverse)

    def backward(self, error: Array, parameters: dict[str, Array], kept: Any) -> tuple[Array, dict[str, Array]]:
        """Return the derivatives, that by z in the memory of `error`.

        Formula, with e the error, g = scale * e and means over the axis: (g - mean(g) - u mean(g u)) / sqrt(v + 1e-5).
        By the scale: the sum of e u over points; by the shift: the sum of e.
        """
        normalised, inverse = kept
        products = error * normalised
        gradients = {}
        if parameters:
            xp = array_namespace(error)
            ones = xp.ones((1, 1, error.shape[-2]), dtype=error.dtype, device=error.device)
            gradients = {"scale": ones @ products, "shift": ones @ error}
            products *= parameters["scale"]
            error *= parameters["scale"]
        error -= self.mean(error)
        error -= normalised * self.mean(products)
        error *= inverse
        return error, gradients


@register("norm", "layer_norm")
class LayerNorm(Standardisation):
    """u = (z - m) / sqrt(v + 1e-5), with m and v the mean and variance over the units of a layer, for each point.

    Source: J. L. Ba, J. R. Kiros and G. E. Hinton, "Layer normalization", arXiv 1607.06450, 2016, without its scale and
    shift.
    """

    affine = False

    def mean(self, array: Array) -> Array:
        """Return means over units, (P, n, 1)."""
        units = array.shape[-1]
        xp = array_namespace(array)
        return array @ xp.full((units, 1), 1 / units, dtype=array.dtype, device=array.device)

    def torch(self, width: int, config: CellConfig) -> nn.Module:
        """Return `torch.nn.LayerNorm`."""
        from torch import nn

        return nn.LayerNorm(width, eps=EPSILON, elementwise_affine=self.affine)


@register("norm", "layer_norm_affine")
class AffineLayerNorm(LayerNorm):
    """scale * u + shift, with u as in `layer_norm` and a scale and a shift of each unit, which are learnt.

    Source: J. L. Ba, J. R. Kiros and G. E. Hinton, "Layer normalization", arXiv 1607.06450, 2016.
    """

    affine = True


@register("norm", "batch_norm")
class BatchNorm(Standardisation):
    """scale * (z - m) / sqrt(v + 1e-5) + shift, with m and v the mean and variance of each unit over the points.

    The points are always those that pass through the network: of the update in training, of the task or held out when
    metrics are measured. There are no running averages. Updates need at least two points.

    Source: S. Ioffe and C. Szegedy, "Batch normalization: accelerating deep network training by reducing internal
    covariate shift", ICML 2015, with the statistics of training everywhere.
    """

    def mean(self, array: Array) -> Array:
        """Return means over points, (P, 1, h)."""
        points = array.shape[-2]
        xp = array_namespace(array)
        return xp.full((1, 1, points), 1 / points, dtype=array.dtype, device=array.device) @ array

    def check(self, config: CellConfig) -> None:
        """Refuse updates on single points, whose variance is zero.

        Raises:
            ConfigError: `batch_size` is 1.
        """
        if config.batch_size == 1:
            raise ConfigError(
                "norm = 'batch_norm' needs at least two points per update, got batch_size = 1; "
                "use batch_size >= 2, or norm = 'layer_norm'"
            )

    def torch(self, width: int, config: CellConfig) -> nn.Module:
        """Return `torch.nn.BatchNorm1d` without running averages."""
        from torch import nn

        return nn.BatchNorm1d(width, eps=EPSILON, track_running_stats=False)
