"""Central differences give known derivatives, with the error that their step has."""

import numpy as np
import pytest

from minidl.diagnostics.numeric import central_difference, numeric_gradient


def test_the_error_is_that_of_a_central_difference_not_of_a_one_sided_one():
    def cube(x):
        return float(x[0] ** 3)

    x, u = np.array([1.0]), np.array([1.0])
    assert central_difference(cube, x, u, 0.01) == pytest.approx(3.0001, abs=1e-9)  # one-sided: 3.0301
    assert central_difference(cube, x, -2 * u) == pytest.approx(-6, abs=1e-8)


def test_a_gradient_has_the_shape_of_x_and_every_entry_its_own_derivative():
    x = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])[:, ::-1]  # a view
    before = x.copy()
    gradient = numeric_gradient(lambda x: float(x[0, 0] * x[1, 2] + (x[:, 1] ** 2).sum()), x)
    assert np.allclose(gradient, [[4, 4, 0], [0, 10, 3]], atol=1e-8)
    assert np.array_equal(x, before)
