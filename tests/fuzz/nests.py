"""Random nests of loops as simulations have them: states handed on from trip to trip, work arrays.

note [Counters]: an element is named by the counter itself, `c[j - 1]` and not `c[(j - 1) % 6]`:
only of such places the passes over loops know which trips meet in them.
"""

from dataclasses import replace

from tests.fuzz.expressions import LENGTH, Scope
from tests.fuzz.memory import Memory

TRIPS = 3
FEW = 3
"""The length of an array small enough to become variables."""


class Nests(Memory):
    """Writes nests of loops; each method returns the scope after it, or the steps of a trip."""

    def nest(self, scope: Scope) -> Scope:
        """Two states; a loop over time, in it loops over elements."""
        states = self.name("c"), self.name("h")
        for name in states:
            source = self.pick.choice(scope.buffers)
            made = [f"{source}.copy()", f"np.zeros_like({source})", f"np.sin({source})"]
            self.line(scope.depth, f"{name} = {self.pick.choice(made)}")
        work, few = self.name("w"), self.name("q")
        self.line(scope.depth, f"{work} = np.zeros({LENGTH})")
        cell = self.name("w") if self.pick.random() < 0.5 else None
        if cell:
            self.line(scope.depth, f"{cell} = np.zeros({LENGTH})")
        outside = self.pick.random() < 0.5
        if outside:
            self.line(scope.depth, f"{few} = np.zeros({FEW})")
        t = self.name("i")
        self.line(scope.depth, f"for {t} in range({self.pick.choice([TRIPS, 'n', 'n - 2'])}):")
        inner = replace(scope, depth=scope.depth + 1, loops=scope.loops + 1)
        inner = replace(inner, ints=(*scope.ints, t))
        if not outside:
            self.line(inner.depth, f"{few} = np.{self.pick.choice(['zeros', 'ones'])}({FEW})")
        if self.pick.random() < 0.5:
            self.refill(inner, states, work)
        if cell:
            self.cell(inner, states, cell)
        for _ in range(self.pick.randint(2, 3)):
            step = self.pick.choice([self.update, self.update, self.swapped, self.by_name])
            step(inner, states, work, few)
        vectors = (*scope.vectors, *((name, LENGTH) for name in (*states, work)))
        if self.pick.random() < 0.3:
            self.statement(replace(inner, vectors=vectors))
        self.line(scope.depth, f"s += 0.3 * {states[0]}[1] - 0.2 * {states[1]}[-1] * {work}[2]")
        return replace(scope, vectors=(*vectors, (few, FEW)) if outside else vectors)

    def history(self, scope: Scope) -> Scope:
        """A matrix with a row for every trip, made of the row before."""
        name, t = self.name("m"), self.name("i")
        self.line(scope.depth, f"{name} = np.zeros(({TRIPS + 1}, {LENGTH}))")
        self.line(scope.depth, f"{name}[0] = {self.pick.choice(scope.buffers)}")
        first, head = self.pick.choice([(0, f"range({TRIPS})"), (1, f"range(1, {TRIPS + 1})")])
        self.line(scope.depth, f"for {t} in {head}:")
        inner, places = self.elements(replace(scope, depth=scope.depth + 1))
        before, row = (f"{t} - 1", t) if first else (t, f"{t} + 1")
        named = [f"{name}[{before}, {place}]" for place in places]
        named += [f"{name}[{row}, {place}]" for place in places]
        e = self.squashed(Scope(floats=(*named, f"{self.pick.choice(scope.buffers)}[{places[0]}]")))
        forms = [f"= {e}", f"= 0.5 * {named[-1]} + {e}", f"+= {e}", f"= {named[0]} - 0.3 * {e}"]
        self.line(inner.depth, f"{name}[{row}, {places[0]}] {self.pick.choice(forms)}")
        return replace(scope, matrices=(*scope.matrices, (name, TRIPS + 1, LENGTH)))

    def elements(self, scope: Scope) -> tuple[Scope, list[str]]:
        """Write the head of a loop over elements: the scope in it, the places it may name."""
        j = self.name("j")
        first, last, forms = self.pick.choice(
            [
                (0, LENGTH, ["{j}", "{j} - 1"]),
                (1, LENGTH, ["{j}", "{j} - 1"]),
                (0, LENGTH - 1, ["{j}", "{j} + 1"]),
                (1, LENGTH - 1, ["{j}", "{j} + 1", "{j} - 1"]),
            ]
        )
        down = f"range({last - 1}, {first - 1}, -1)"
        head = down if self.pick.random() < 0.2 else f"range({first}, {last})"
        self.line(scope.depth, f"for {j} in {head}:")
        return replace(scope, depth=scope.depth + 1), [form.format(j=j) for form in forms]

    def refill(self, scope: Scope, states: tuple[str, str], work: str) -> None:
        """The work array, of which a trip then finds nothing that the last one has left."""
        e = self.squashed(Scope(floats=(f"{states[0]}[j]", f"{states[1]}[j]", "a")))
        head = f"for j in range({LENGTH}):"
        whole = f"{work}[:] = {self.pick.choice(['0.0', f'0.5 * {states[0]}'])}"
        forms = [
            [head, f"    {work}[j] = {e}"],
            [head, f"    {work}[j] = 0.6 * {states[0]}[j - 1]", f"    {work}[j] *= {e}"],
            [whole],
            [whole, head, f"    {work}[j] += {e}"],
            [
                f"{work}[0] = a",
                head.replace("(", "(1, "),
                f"    {work}[j] = 0.5 * {work}[j - 1] + {e}",
            ],
        ]
        for text in self.pick.choice(forms):
            self.line(scope.depth, text)

    def cell(self, scope: Scope, states: tuple[str, str], cell: str) -> None:
        """An array that nothing but one inner loop touches, whose contents one trip may hand on."""
        inner, places = self.elements(scope)
        at, other = places[0], self.pick.choice(places)
        e = self.squashed(Scope(floats=(*(f"{s}[{p}]" for s in states for p in places), "a")))
        forms = [f"+= {e}", f"= 0.5 * {cell}[{other}] + {e}", f"= {e}", f"*= 0.5 * {e}"]
        lines = [f"{cell}[{at}] {self.pick.choice(forms)}"]
        lines += [f"{self.pick.choice(states)}[{at}] += math.sin({cell}[{other}])"]
        if self.pick.random() < 0.3:
            lines = lines[::-1]
        for text in lines:
            self.line(inner.depth, text)

    def update(self, scope: Scope, states: tuple[str, str], work: str, few: str) -> None:
        """One of the arrays, element by element."""
        target = self.pick.choice([*states, work])
        inner, places = self.elements(scope)
        at = places[0]
        arrays = [*states, work, self.pick.choice(scope.buffers)]
        named = [f"{array}[{place}]" for array in arrays for place in places]
        known = (*self.pick.sample(named, 3), f"{target}[{at}]", f"{few}[1]", "a")
        e = self.squashed(Scope(floats=known, depth=inner.depth))
        old = self.pick.choice(named)
        forms = [f"= {e}", f"= 0.5 * {target}[{at}] + 0.5 * {e}", f"= 0.6 * {old} + 0.4 * {e}"]
        forms += [f"+= 0.3 * {e}", f"*= {e}"]
        self.line(inner.depth, f"{target}[{at}] {self.pick.choice(forms)}")
        if self.pick.random() < 0.4:
            other = self.pick.choice([*states, work])
            self.line(inner.depth, f"{other}[{at}] += 0.4 * {self.pick.choice(named)}")

    def swapped(self, scope: Scope, states: tuple[str, str], work: str, few: str) -> None:
        self.line(scope.depth, "{0}, {1} = {1}, {0}".format(*states))

    def by_name(self, scope: Scope, states: tuple[str, str], work: str, few: str) -> None:
        """The small array, each element by its number, and what is made of it."""
        known = (f"{few}[0]", f"{few}[2]", f"{states[0]}[0]", f"{states[1]}[2]", "a", "s")
        for i in range(FEW):
            e = self.squashed(Scope(floats=known))
            self.line(scope.depth, f"{few}[{i}] {self.pick.choice(['=', '=', '+='])} {e}")
        j, target = self.name("j"), self.pick.choice([*states, work])
        self.line(scope.depth, f"for {j} in range({FEW}):")
        self.line(scope.depth + 1, f"{target}[{j}] = 0.5 * {target}[{j}] + 0.3 * {few}[{j}]")
