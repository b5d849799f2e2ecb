"""How energy depends on the supply voltage of a technology."""

from __future__ import annotations

from snnplug.hardware.elementwise import Number

#: Node in nm: coefficients of energy = a V² + b V + c, relative to 45 nm. Stillmaker and Baas,
#: "Scaling equations for the accurate prediction of CMOS device performance from 180 nm to 7 nm",
#: Integration, 2017.
_POLYNOMIALS = {
    20: (0.373, -0.1582, 0.04104),
    32: (0.9559, -0.7823, 0.471),
    45: (1.103, -0.362, 0.2767),
}
#: Between these voltages the polynomials rise with the voltage at every node between 20 and 45 nm.
LOWEST_V, HIGHEST_V = 0.5, 1.2


def relative_energy(node_nm: float, supply_v: Number) -> Number:
    """Return the switching energy of a node at a voltage, in the units of the source.

    Only ratios mean something. Between 20, 32 and 45 nm the value is interpolated in the node.

    Args:
        node_nm: 20 … 45.
        supply_v: 0.5 … 1.2.

    Example:
        >>> round(relative_energy(28, 0.9) / relative_energy(45, 0.9), 3)
        0.507
    """
    low, high = (20, 32) if node_nm <= 32 else (32, 45)
    share = (node_nm - low) / (high - low)
    a, b, c = (
        (1 - share) * x + share * y
        for x, y in zip(_POLYNOMIALS[low], _POLYNOMIALS[high], strict=True)
    )
    return a * supply_v * supply_v + b * supply_v + c
