"""Random statements on arrays: views, stores, allocations, whole-array updates, references."""

from dataclasses import replace

from tests.fuzz.expressions import LENGTH, ORDER, Expressions, Scope


class Memory(Expressions):
    """Writes statements on arrays; each returns the scope after it."""

    def store(self, scope: Scope) -> Scope:
        operator = self.pick.choice(["=", "+=", "+=", "-=", "*="])
        self.line(scope.depth, f"{self.element(scope)} {operator} {self.squashed(scope)}")
        return scope

    # views

    def view(self, scope: Scope) -> Scope:
        roll = self.pick.random()
        if scope.matrices and roll < 0.2:
            return self.view_of_matrix(scope)
        text, length = self.row(scope) if scope.matrices and roll < 0.5 else self.part(scope)
        name = self.name("v")
        self.line(scope.depth, f"{name} = {text}")
        return replace(scope, vectors=(*scope.vectors, (name, length)))

    def row(self, scope: Scope) -> tuple[str, int]:
        """A row, a column or all of a matrix, and its length."""
        matrix, rows, columns = self.pick.choice(scope.matrices)
        forms = [
            (f"{matrix}[{self.index(scope, rows)}]", columns),
            (f"{matrix}[:, {self.index(scope, columns)}]", rows),
            (f"{matrix}.T[{self.index(scope, columns)}]", rows),
            (f"{matrix}[{self.index(scope, rows)}, ::-1]", columns),
            (f"{matrix}.ravel()", rows * columns),
        ]
        return self.pick.choice(forms)

    def part(self, scope: Scope) -> tuple[str, int]:
        """A part of a vector of at least two elements, and its length."""
        base, whole = self.pick.choice(scope.vectors)
        forms = [
            (f"{base}[1:]", whole - 1),
            (f"{base}[:-1]", whole - 1),
            (f"{base}[::2]", (whole + 1) // 2),
            (f"{base}[::-1]", whole),
            (f"{base}[-2::-2]", whole // 2),
            (f"{base}[{whole - 1}:0:-1]", whole - 1),
        ]
        if scope.ints and whole > 3:
            start = f"{self.pick.choice(scope.ints)} % 2"
            forms += [(f"{base}[{start} : {start} + {whole - 1}]", whole - 1)]
        if scope.orders and whole == LENGTH:
            forms += [(f"{base}[{self.pick.choice(scope.orders)}]", ORDER)]
        text, length = self.pick.choice(forms)
        return (base, whole) if length < 2 else (text, length)

    def view_of_matrix(self, scope: Scope) -> Scope:
        matrix, rows, columns = self.pick.choice(scope.matrices)
        forms = [(f"{matrix}.T", columns, rows), (f"{matrix}[::-1]", rows, columns)]
        if rows > 2:
            forms += [(f"{matrix}[1:, ::-1]", rows - 1, columns), (f"{matrix}[::2]", 2, columns)]
        if columns > 2:
            forms += [(f"{matrix}[:, 1:]", rows, columns - 1)]
        text, *shape = self.pick.choice([form for form in forms if form[1] < 5])
        name = self.name("m")
        self.line(scope.depth, f"{name} = {text}")
        return replace(scope, matrices=(*scope.matrices, (name, *shape)))

    # whole arrays

    def whole_array(self, scope: Scope) -> Scope:
        if scope.matrices and self.pick.random() < 0.35:
            return self.whole_matrix(scope)
        recent = scope.vectors[-4:] if self.pick.random() < 0.5 else scope.vectors
        name, length = self.pick.choice(recent)
        e = self.vector_of(scope, length)
        forms = [f"{name}[:] = {e}", f"{name}[:] = {name} * 0.5 + {e}", f"{name} *= 0.9"]
        forms += [f"{name}[1:] = {name}[:-1] * 0.9", f"{name}[1:] = {name}[:-1]"]
        forms += [f"{name}[::-1] = np.sin({name})", f"{name}[:] = {self.constant()}"]
        forms += [f"{name}[{name} > {self.constant()}] = {self.squashed(scope)}"]
        forms += [f"{self.pick.choice(scope.assignable())} = {self.reduction(scope)}"] * 3
        if scope.orders and length == LENGTH:
            order = self.pick.choice(scope.orders)
            forms += [f"{name}[{order}] = {self.squashed(scope)}"]
            forms += [f"{name}[{order}] = np.sin({name}[1:5])", f"{order}[1] = k % {LENGTH}"]
            forms += [f"{name}[{order}] = {name}[1:5]", f"{name}[{order}] += 0.5 * {name}[:4]"]
        self.line(scope.depth, self.pick.choice(forms))
        return scope

    def whole_matrix(self, scope: Scope) -> Scope:
        matrix, rows, columns = self.pick.choice(scope.matrices)
        e = self.matrix_of(scope, rows, columns)
        forms = [f"{matrix}[:] = {e}", f"{matrix}[...] = 0.4 * {matrix} + {e}"]
        forms += [f"{matrix}[1:] = {matrix}[:-1] * 0.8", f"{matrix}[:, ::-1] = np.sin({matrix})"]
        forms += [f"{matrix}[:, {self.index(scope, columns)}] = {self.squashed(scope)}"]
        for name, n in scope.vectors[-3:]:
            forms += [f"{matrix}[{self.index(scope, rows)}] = np.sin({name})"] * (n == columns)
            forms += [f"{matrix}[:, {self.index(scope, columns)}] += {name}"] * (n == rows)
            forms += [f"{matrix}[:] = {name}"] * (n == columns)
        self.line(scope.depth, self.pick.choice(forms))
        return scope

    # references

    def allocate(self, scope: Scope) -> Scope:
        if scope.matrices and self.pick.random() < 0.3:
            name, (source, rows, columns) = self.name("m"), self.pick.choice(scope.matrices)
            forms = [f"np.zeros(({rows}, {columns}))", f"{source}.copy()"]
            forms += [self.matrix_of(scope, rows, columns)]
            self.line(scope.depth, f"{name} = {self.pick.choice(forms)}")
            return replace(scope, matrices=(*scope.matrices, (name, rows, columns)))
        if scope.matrices and self.pick.random() < 0.5:
            return self.reduced(scope)
        name, (source, length) = self.name("b"), self.pick.choice(scope.vectors)
        forms = [f"np.zeros({length})", f"{source}.copy()", f"np.ones({length})"]
        forms += [f"np.full({length}, {self.leaf(scope)})", self.vector_of(scope, length)]
        self.line(scope.depth, f"{name} = {self.pick.choice(forms)}")
        return replace(scope, vectors=(*scope.vectors, (name, length)))

    def reduced(self, scope: Scope) -> Scope:
        """A new vector from a matrix."""
        name, (matrix, rows, columns) = self.name("b"), self.pick.choice(scope.matrices)
        forms = [(f"np.tanh(np.sum({matrix}, axis=0))", columns), (f"{matrix}.sum(axis=1)", rows)]
        for v, n in scope.vectors[3:]:
            forms += [(f"np.sin({matrix} * {v}).sum(axis=1)", rows)] * (n == columns)
            if n == columns and not self.single:
                forms += [(f"np.tanh({matrix}.copy() @ {v}.copy())", rows)]
        text, length = self.pick.choice(forms)
        self.line(scope.depth, f"{name} = {text}")
        return replace(scope, vectors=(*scope.vectors, (name, length)))

    def ragged(self, scope: Scope) -> Scope:
        name, i = self.name("r"), self.pick.choice(scope.ints)
        forms = [f"np.zeros({i} % 3 + 1)", f"np.full({i} % 4 + 1, {self.leaf(scope)})"]
        forms += [f"{base}[{i} % 4 :]" for base in scope.buffers]
        forms += [f"np.sin({base}[: {i} % 3 + 1])" for base in scope.buffers]
        forms += [f"np.linspace({self.constant()}, {self.leaf(scope)}, {i} % 3 + 2)"]
        self.line(scope.depth, f"{name} = {self.pick.choice(forms)}")
        return replace(scope, ragged=(*scope.ragged, name))

    def swap(self, scope: Scope) -> Scope:
        names = [name for name in scope.buffers if name not in scope.fixed]
        a, b = self.pick.sample(names, 2)
        depth = scope.depth
        if self.pick.random() < 0.4:
            self.line(depth, f"if {self.condition(scope)}:")
            depth += 1
        self.line(depth, f"{a}, {b} = {b}, {a}")
        return scope

    def rebind(self, scope: Scope) -> Scope:
        """A buffer becomes a new array, or another one."""
        names = [name for name in scope.buffers if name not in scope.fixed]
        a, b = self.pick.sample(names, 2)
        forms = [f"{a} = {b}.copy()", f"{a} = np.sin({a} * {b})", f"{a} = {a}.copy()"]
        forms += [f"{a} = {a} if {self.condition(scope)} else {b}"]
        forms += [f"{a} = blend({a}, {b}, {self.leaf(scope)})"] * self.blends
        if not self.single:
            forms += [f"{a} = {self.vector_of(scope, LENGTH)}", f"{a} = 0.5 * {a} + {b}"]
        self.line(scope.depth, self.pick.choice(forms))
        return scope

    def choose(self, scope: Scope) -> Scope:
        name, (a, b) = self.name("c"), self.pick.sample(scope.buffers, 2)
        forms = [f"{a} if {self.condition(scope)} else {b}"]
        forms += [f"blend({a}, {b}, {self.leaf(scope)})"] * (2 * self.blends)
        self.line(scope.depth, f"{name} = {self.pick.choice(forms)}")
        vectors = (*scope.vectors, (name, LENGTH))
        return replace(scope, vectors=vectors, buffers=(*scope.buffers, name))

    def order(self, scope: Scope) -> Scope:
        name = self.name("o")
        places = [self.pick.randrange(LENGTH) for _ in range(ORDER)]
        vector = self.pick.choice(scope.buffers)
        forms = [
            f"np.array({places})",
            f"np.argsort({vector}, kind='mergesort')[:{ORDER}]",
            f"np.arange({ORDER})",
        ]
        self.line(scope.depth, f"{name} = {self.pick.choice(forms)}")
        return replace(scope, orders=(*scope.orders, name))

    def array_helper(self, scope: Scope) -> Scope:
        if not self.spreads:
            return self.store(scope)
        name, length = self.pick.choice(scope.vectors)
        index = self.index(scope, length)
        self.line(scope.depth, f"spread({name}, ({index}) % {length}, {self.leaf(scope)})")
        return scope
