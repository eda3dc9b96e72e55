"""Both modes of every construct of the IR, to third order."""

import pytest

from tests.transforms.checks import check_transforms
from tests.transforms.programs import PROGRAMS


@pytest.mark.parametrize("name", PROGRAMS)
def test_program(name):
    make, args = PROGRAMS[name]
    check_transforms(make(), args, order=2)


@pytest.mark.slow
@pytest.mark.parametrize("name", PROGRAMS)
def test_program_to_third_order(name):
    make, args = PROGRAMS[name]
    check_transforms(make(), args, order=3)
