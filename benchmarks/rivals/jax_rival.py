"""JAX: `jit`, double precision; loops are `lax.scan` and `lax.fori_loop`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import numbaflux as nf
from benchmarks import check
from benchmarks.cases.particles import SOFTENING

jax.config.update("jax_enable_x64", True)


def prepared(f: Callable, derive: Callable[[Callable], Callable]) -> Callable[..., Any]:
    """Both compiled; integers are known when they are, the rest is on the device already."""

    def prepare(*args):
        static = tuple(i for i, arg in enumerate(args) if isinstance(arg, int))
        placed = [arg if isinstance(arg, int) else jnp.asarray(arg) for arg in args]
        primal, derivative = (jax.jit(g, static_argnums=static) for g in (f, derive(f)))
        return (
            lambda: jax.block_until_ready(primal(*placed)),
            lambda: jax.block_until_ready(derivative(*placed)),
        )

    return prepare


def reverse(f: Callable, *argnums: int) -> Callable[..., Any]:
    chosen = argnums if len(argnums) > 1 else argnums[0]
    return prepared(f, lambda f: jax.grad(f, chosen))


def along(f: Callable, argnum: int) -> Callable[..., Any]:
    """Forward mode in the direction that all take."""

    def derive(f):
        def derivative(*args):
            tangent = jnp.asarray(check.direction(args, (argnum,))[argnum])

            def of_one(x):
                return f(*args[:argnum], x, *args[argnum + 1 :])

            return nf.Dup(*jax.jvp(of_one, (args[argnum],), (tangent,)))

        return derivative

    return prepared(f, derive)


def llsq(x, n):
    t = jnp.linspace(-1.0, 1.0, n)
    residual = jnp.sign(t) - jnp.vander(t, x.shape[0], increasing=True) @ x
    return 0.5 * jnp.sum(residual**2)


def lse(x):
    largest = jnp.max(x)
    return largest + jnp.log(jnp.sum(jnp.exp(x - largest)))


def gmm(alpha, mu, q, lower, x, gamma, m):
    n, d = x.shape
    k = alpha.shape[0]
    columns, rows = np.triu_indices(d, 1)
    factors = jnp.zeros((k, d, d)).at[:, rows, columns].set(lower)
    factors = factors.at[:, np.arange(d), np.arange(d)].set(jnp.exp(q))
    products = jnp.einsum("kij,nkj->nki", factors, x[:, None, :] - mu)
    terms = alpha + q.sum(axis=1) - 0.5 * (products**2).sum(axis=2)
    likelihood = jax.nn.logsumexp(terms, axis=1).sum()
    likelihood -= n * (0.5 * d * np.log(2.0 * np.pi) + jax.nn.logsumexp(alpha))
    degrees = d + m + 1
    constant = degrees * d * (jnp.log(gamma) - 0.5 * np.log(2.0))
    constant -= jax.scipy.special.multigammaln(0.5 * degrees, d)
    return likelihood + k * constant - 0.5 * gamma**2 * (factors**2).sum() + m * q.sum()


def rotated(rotation, point):
    angle = jnp.sqrt(rotation @ rotation)
    axis = rotation / angle
    turned = jnp.cos(angle) * point + jnp.sin(angle) * jnp.cross(axis, point)
    return turned + (1.0 - jnp.cos(angle)) * (axis @ point) * axis


def reprojection(camera, point, weight, feature):
    seen = rotated(camera[:3], point - camera[3:6])
    plane = seen[:2] / seen[2]
    square = plane @ plane
    scale = 1.0 + camera[9] * square + camera[10] * square**2
    return weight * (plane * scale * camera[6] + camera[7:9] - feature)


def ba(cameras, points, weights, observed, features):
    chosen = cameras[observed[:, 0]], points[observed[:, 1]]
    errors = jax.vmap(reprojection)(*chosen, weights, features)
    return jnp.concatenate([errors.ravel(), 1.0 - weights**2])


def ba_blocks(f):
    def blocks(cameras, points, weights, observed, features):
        chosen = cameras[observed[:, 0]], points[observed[:, 1]]
        of = jax.vmap(jax.jacrev(reprojection, (0, 1, 2)))
        d_camera, d_point, d_weight = of(*chosen, weights, features)
        parts = [d_camera, d_point, d_weight[:, :, None]]
        return jnp.concatenate(parts, axis=2), -2.0 * weights

    return blocks


def lstm(main, extra, state, sequence):
    bits = sequence.shape[1]
    layers = main.reshape(-1, 2, 4, bits)

    def step(state, characters):
        character, following = characters
        signal, states = character * extra[0], []
        for (weight, bias), (hidden, cell) in zip(layers, state):
            forget = jax.nn.sigmoid(signal * weight[0] + bias[0])
            enter = jax.nn.sigmoid(hidden * weight[1] + bias[1])
            leave = jax.nn.sigmoid(signal * weight[2] + bias[2])
            cell = cell * forget + enter * jnp.tanh(hidden * weight[3] + bias[3])
            signal = leave * jnp.tanh(cell)
            states.append(jnp.stack([signal, cell]))
        prediction = signal * extra[1] + extra[2]
        log_norm = jnp.log(jnp.sum(jnp.exp(prediction)) + 2.0)
        return jnp.stack(states), following @ (prediction - log_norm)

    _, terms = lax.scan(step, state.reshape(-1, 2, bits), (sequence[:-1], sequence[1:]))
    return -jnp.sum(terms) / sequence[1:].size


def kmeans(points, centroids):
    squares = jnp.sum(points**2, 1)[None, :] + jnp.sum(centroids**2, 1)[:, None]
    return jnp.sum(jnp.min(squares - 2.0 * centroids @ points.T, axis=0))


def kmeans_direction(f):
    def direction(points, centroids):
        slope = jax.grad(lambda c: f(points, c))
        first, second = jax.jvp(slope, (centroids,), (jnp.ones_like(centroids),))
        return first / second

    return direction


def ode(x, steps):
    h = 2.0 / steps

    def slope(y):
        return x * jnp.concatenate([jnp.ones(1), y[:-1]])

    def step(_, y):
        k1 = slope(y)
        k2 = slope(y + 0.5 * h * k1)
        k3 = slope(y + 0.5 * h * k2)
        k4 = slope(y + h * k3)
        return y + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)

    return lax.fori_loop(0, steps, step, jnp.zeros_like(x))[-1]


def logistic(x, r, n):
    return lax.fori_loop(0, n, lambda _, x: r * x * (1.0 - x), x)


def lorenz(x, y, z, sigma, rho, beta, h, n):
    def slope(x, y, z):
        return sigma * (y - x), x * (rho - z) - y, x * y - beta * z

    def moved(u, h, k):
        return tuple(a + h * b for a, b in zip(u, k))

    def step(_, u):
        a = slope(*u)
        b = slope(*moved(u, 0.5 * h, a))
        c = slope(*moved(u, 0.5 * h, b))
        d = slope(*moved(u, h, c))
        return tuple(
            v + h / 6.0 * (p + 2.0 * q + 2.0 * r + s) for v, p, q, r, s in zip(u, a, b, c, d)
        )

    return sum(lax.fori_loop(0, n, step, (x, y, z)))


def sin_product(x):
    return jnp.sum(jnp.sin(x) * x)


def black_scholes(spot, strike, years, volatility, rate):
    spread = volatility * jnp.sqrt(years)
    d1 = (jnp.log(spot / strike) + (rate + 0.5 * volatility**2) * years) / spread
    cdf = jax.scipy.stats.norm.cdf
    return jnp.sum(spot * cdf(d1) - strike * jnp.exp(-rate * years) * cdf(d1 - spread))


def heat(start, rate, steps):
    def step(_, u):
        around = u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:]
        return u.at[1:-1, 1:-1].add(rate * (around - 4.0 * u[1:-1, 1:-1]))

    return 0.5 * jnp.sum(lax.fori_loop(0, steps, step, start) ** 2)


def heat_nonlinear(start, rate, steps):
    def flow(a, b):
        return (1.0 + 0.5 * (a * a + b * b)) * (b - a)

    def step(_, u):
        here = u[1:-1, 1:-1]
        change = flow(here, u[:-2, 1:-1]) + flow(here, u[2:, 1:-1])
        change += flow(here, u[1:-1, :-2]) + flow(here, u[1:-1, 2:])
        return u.at[1:-1, 1:-1].add(rate * change)

    return 0.5 * jnp.sum(lax.fori_loop(0, steps, step, start) ** 2)


def rosenbrock(x):
    return jnp.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def tridiagonal(below, diagonal, above, right):
    x = lax.linalg.tridiagonal_solve(below, diagonal, above, right[:, None])
    return 0.5 * jnp.sum(x**2)


def n_body(x, masses):
    square = jnp.sum((x[:, None, :] - x) ** 2, axis=2) + SOFTENING
    return -jnp.sum(jnp.triu(masses[:, None] * masses / jnp.sqrt(square), 1))


def markov(weights, path):
    return jnp.sum(jax.nn.log_softmax(weights, axis=1)[path[:-1], path[1:]])


def expm(a):
    return 0.5 * jnp.sum(jax.scipy.linalg.expm(a) ** 2)


RIVALS = {
    ("llsq", "gradient"): reverse(llsq, 0),
    ("lse", "gradient"): reverse(lse, 0),
    ("gmm", "gradient"): reverse(gmm, 0, 1, 2, 3),
    ("ba", "jacobian"): prepared(ba, ba_blocks),
    ("lstm", "gradient"): reverse(lstm, 0, 1),
    ("kmeans", "direction"): prepared(kmeans, kmeans_direction),
    ("ode", "gradient"): reverse(ode, 0),
    ("logistic", "gradient"): reverse(logistic, 0, 1),
    ("logistic", "forward"): along(logistic, 0),
    ("lorenz", "gradient"): reverse(lorenz, 0, 1, 2, 3, 4, 5),
    ("lorenz", "forward"): along(lorenz, 3),
    ("sin-product", "gradient"): prepared(sin_product, jax.value_and_grad),
    ("black-scholes", "gradient"): reverse(black_scholes, 0, 3, 4),
    ("heat", "gradient"): reverse(heat, 0),
    ("heat-nonlinear", "gradient"): reverse(heat_nonlinear, 0),
    ("rosenbrock", "gradient"): reverse(rosenbrock, 0),
    ("rosenbrock", "hessian"): prepared(rosenbrock, jax.hessian),
    ("tridiagonal", "gradient"): reverse(tridiagonal, 0, 1, 2, 3),
    ("n-body", "gradient"): reverse(n_body, 0),
    ("markov", "gradient"): reverse(markov, 0),
    ("expm", "gradient"): reverse(expm, 0),
    ("call", "gradient"): prepared(
        lambda x: 6.0 * x + 2.0, lambda f: jax.grad(lambda x: 3.0 * x * x + 2.0 * x + 1.0)
    ),
}
