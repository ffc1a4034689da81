"""The experiments that there are: one value `EXPERIMENT` for each file of `experiments/`."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable

from chaos import experiments
from chaos.experiment import Experiment


class UnknownExperimentError(ValueError):
    """A name that no experiment has; says which there are."""


def catalogue() -> dict[str, Experiment]:
    """Every experiment by its name, that of its file, in alphabetical order."""
    names = sorted(module.name for module in pkgutil.iter_modules(experiments.__path__))
    found = {}
    for name in names:
        experiment = importlib.import_module(f"{experiments.__name__}.{name}").EXPERIMENT
        if not isinstance(experiment, Experiment):
            raise TypeError(f"{name}: expected EXPERIMENT to be an Experiment, got {experiment!r}")
        found[name] = experiment
    return found


def select(only: Iterable[str] = (), mutant: str | None = None) -> dict[str, Experiment]:
    """The experiments of these names, and those that name the mutant; all when nothing is asked.

    Raises: UnknownExperimentError.
    """
    known, wanted = catalogue(), list(only)
    if strange := sorted(set(wanted) - set(known)):
        raise UnknownExperimentError(
            f"--only expects names of experiments ({', '.join(known)}), got {', '.join(strange)}"
        )
    found = {name: one for name, one in known.items() if not wanted or name in wanted}
    if mutant is None:
        return found
    if not (named := {name: one for name, one in found.items() if mutant in one.mutants}):
        raise UnknownExperimentError(f"--mutant: no experiment names {mutant!r} as its mutant")
    return named
