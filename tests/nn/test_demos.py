"""What the notebooks rely on."""

import numpy as np
from scipy.integrate import solve_ivp

from numbaflux.demo import bouncing_ball, friction, sunspots


def test_the_adaptive_solver_against_scipys():
    p = friction.NET.init(2)

    def slope(t, u):
        du = np.empty(2)
        friction.slope(p, t, u, du)
        return du

    times = np.linspace(0.0, 12.0, 7)
    found = solve_ivp(slope, (0.0, 12.0), friction.START, t_eval=times, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(friction.simulate(p, friction.START, times), found.y.T, atol=5e-5)


def test_a_ball_without_engine_falls_and_bounces():
    """The parabola after the first impact, and impacts at 0.45, 1.17 and 1.75 s."""
    p = np.zeros(bouncing_ball.NET.size)
    places, hits = bouncing_ball.path(p)
    g, down = bouncing_ball.GRAVITY, np.sqrt(2.0 / bouncing_ball.GRAVITY)
    t = bouncing_ball.DT * np.arange(len(places)) - down
    first = (t > 0) & (t < 1.6 * down)
    expected = bouncing_ball.BOUNCE * g * down * t[first] - 0.5 * g * t[first] ** 2
    np.testing.assert_allclose(places[first, 1], expected, atol=1e-12)
    assert hits == 3 and np.all(places[:, 0] == 0.0)


def test_sunspots_are_split_by_year():
    years, numbers = sunspots.sunspots()
    assert (years[0], years[-1], len(years)) == (1700, 2008, 309)
    assert (numbers[0], numbers[years == 1957][0]) == (5.0, 190.2)
    parts = sunspots.stretches(years, years.astype(float))
    for part, first, last in zip(parts, (1724, 1890, 1930), (1889, 1929, 2008), strict=True):
        np.testing.assert_array_equal(part[-1, :, 0], np.arange(first, last + 1))
        np.testing.assert_array_equal(part[0], part[-1] - sunspots.LENGTH)


def test_the_autoregression_finds_a_linear_recurrence():
    series = np.sin(0.6 * np.arange(60.0)) + 0.3 * np.cos(1.1 * np.arange(60.0)) + 2.0
    weights = sunspots.autoregression(series, 40)
    past = series[50 - sunspots.ORDER : 50][::-1]
    np.testing.assert_allclose(past @ weights[:-1] + weights[-1], series[50], rtol=1e-9)
