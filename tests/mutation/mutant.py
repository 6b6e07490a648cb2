"""mutant.py -- what a row of defences.py and rules.py is."""
import dataclasses


@dataclasses.dataclass
class Mutant:
    name: str     # row of SECURITY.md and a letter, or the mark of a rule
    what: str     # what the change takes away
    edits: list   # (file, text that stands there exactly once, text in its place)
    tests: list   # each of them must fail: program/test, or a program with its arguments


def mutant(name, what, file, old, new, *tests):
    """The common case, one edit."""
    return Mutant(name, what, [(file, old, new)], list(tests))
