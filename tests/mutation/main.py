#!/usr/bin/env python3
"""main.py SRC BUILD [--applies] [NAME...] -- shows that the tests notice when a defence or a rule is taken out.

Each mutant (defences.py, rules.py) is the source with one thing switched off or turned round. All of it happens in
a copy of the tree, BUILD/mutation/tree: no option, macro or hook of it is in the product. There the unchanged code
must pass the tests that are named; then each mutant in turn is written, built (ninja builds what depends on the
file), and must fail one of its tests. What survives, does not build or no longer applies is a failure.

The last line is `N passed, N failed`. --applies only looks whether each mutant still finds its place in the source,
which takes no time and is a gate of `ninja check`.
"""
import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys

sys.dont_write_bytecode = True  # nothing is left in the source
import defences  # noqa: E402
import rules  # noqa: E402

PARTS = ["core", "crypto", "nat", "reactor", "apps", "tests", "bench", "configure", "build.ninja"]
TIME_S = 240


def texts(src, mutant):
    """The changed text of each file; None where an edit does not find its place exactly once."""
    changed = {}
    for name, old, new in mutant.edits:
        text = changed.get(name) or (src / name).read_text()
        if text.count(old) != 1 or old == new:
            return None, f"{name}: {text.count(old)} places for: {old.strip().splitlines()[0]}"
        changed[name] = text.replace(old, new)
    return changed, ""


def sync(src, tree):
    """Makes tree a copy of src. Files that are the same keep their times, so that ninja leaves them alone."""
    there = set()
    for part in PARTS:
        top = src / part
        for path in [top] if top.is_file() else sorted(top.rglob("*")):
            rel = path.relative_to(src)
            if not path.is_file() or "__pycache__" in rel.parts:
                continue
            there.add(rel)
            to = tree / rel
            if not to.exists() or to.read_bytes() != path.read_bytes():
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, to)
                shutil.copymode(path, to)
    for path in sorted(tree.rglob("*")):
        rel = path.relative_to(tree)
        if path.is_file() and rel.parts[0] in PARTS and rel not in there and "__pycache__" not in rel.parts:
            path.unlink()
    # Of the build that calls us. What a mutant leaves unused is no error; and it is the newest file of all, so that
    # configure does not run.
    config = pathlib.Path("config.ninja").read_text().replace(" -Werror", "")
    config = re.sub(r"^src *=.*$", "src = .", config, flags=re.M)
    if not (tree / "config.ninja").exists() or (tree / "config.ninja").read_text() != config:
        (tree / "config.ninja").write_text(config)
    os.utime(tree / "config.ninja")


def build(tree, programs):
    run = subprocess.run(["ninja", "-C", tree, *[f"build/tests/{p}" for p in programs]],
                         capture_output=True, text=True)
    return run.returncode == 0, run.stdout[-3000:]


def command(tree, test):
    """`program/pattern` is a Criterion test; `program --option ...` a program with its arguments."""
    program, _, pattern = test.partition("/")
    if " " in test:
        return [tree / "build/tests" / test.split()[0], *test.split()[1:]]
    return [tree / "build/tests" / program, "--filter", test if pattern else f"{program}/*"]


def program_of(test):
    return test.split()[0] if " " in test else test.partition("/")[0]


def run_test(tree, test):
    """(passed, what it said): passed only when a test ran and none failed."""
    try:
        run = subprocess.run(command(tree, test), cwd=tree, capture_output=True, text=True, errors="replace",
                             timeout=TIME_S, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return False, f"{test}: does not end"
    said = re.sub(r"\x1b\[[0-9;]*m", "", run.stdout + run.stderr)
    ran = re.search(r"Tested: *([0-9]+)|([0-9]+) passed", said)
    if run.returncode == 0 and ran and int(ran.group(1) or ran.group(2)):
        return True, ""
    failed = re.findall(r"^\[FAIL\] (\w+::\w+)", said, re.M)
    why = re.findall(r"^\[----\] (?:\S+:\d+: Assertion Failed|  *(.+))$", said, re.M)
    why = next((w.strip() for w in why if w.strip()), "")
    if "Assertion `" in said:
        why = "assert: " + re.search(r"Assertion `(.*?)'", said).group(1)
    elif "CRASH" in said or run.returncode < 0:
        why = why or "crash"
    return False, f"{failed[0].replace('::', '/') if failed else test}: {why or said.strip().splitlines()[-1]}"[:170]


def try_mutant(src, tree, mutant):
    """(killed, what it showed)"""
    changed, error = texts(src, mutant)
    shown = []
    if changed is None:
        return False, "does not apply: " + error
    try:
        for name, text in changed.items():
            (tree / name).write_text(text)
        built, said = build(tree, sorted({program_of(t) for t in mutant.tests}))
        if not built:
            return False, "does not build:\n" + said
        for test in mutant.tests:
            passed, why = run_test(tree, test)
            if passed:
                return False, f"survives {test}"
            shown.append(why)
        return True, "; ".join(shown[:1] + [w.split(":")[0] for w in shown[1:]])
    finally:
        for name in changed:
            shutil.copyfile(src / name, tree / name)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("src", type=pathlib.Path)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--applies", action="store_true")
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)
    mutants = [m for m in defences.MUTANTS + rules.MUTANTS
               if not args.names or m.name in args.names]
    if args.applies:
        bad = [(m.name, texts(args.src, m)[1]) for m in mutants if texts(args.src, m)[0] is None]
        for name, error in bad:
            print(f"{name} no longer applies: {error}")
        print(f"{len(mutants) - len(bad)} passed, {len(bad)} failed")
        return len(bad) > 0

    tree = (args.build / "mutation/tree").resolve()
    sync(args.src, tree)
    tests = sorted({t for m in mutants for t in m.tests})
    built, said = build(tree, sorted({program_of(t) for t in tests}))
    if not built:
        print(said, "\nthe unchanged source does not build")
        return 1
    failed = 0
    for test in tests:
        passed, why = run_test(tree, test)
        if not passed:
            print(f"without any change: {why}")
            failed += 1
    if failed:
        return 1
    print(f"{len(tests)} tests pass; {len(mutants)} mutants\n")
    print("| mutant | what is switched off or turned round | the test that fails |\n|---|---|---|")
    for mutant in mutants:
        killed, what = try_mutant(args.src, tree, mutant)
        failed += not killed
        print(f"| {mutant.name} | {mutant.what} | {'' if killed else 'NONE: '}{what} |")
    if not args.names:
        print("\nNot by a mutant:")
        for row, reason in defences.STRUCTURAL + rules.DRAWN_WITHOUT:
            print(f"  {row}: {reason}")
    print(f"\n{len(mutants) - failed} passed, {failed} failed")
    return failed > 0


sys.exit(main())
