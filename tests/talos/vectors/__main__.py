"""Check our code against a folder of vectors: ``python -m tests.talos.vectors [DIR]``.

Prints one line a kind and the first differences; the exit status is 1 when a case failed or the folder holds no
vectors. Kinds that nothing checks yet do not fail.
"""

import argparse
import sys
import textwrap
from pathlib import Path

from tests.talos.vectors import DEFAULT_FOLDER, checker, kinds, run

MAX_SHOWN = 5
MAX_WIDTH = 1500


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.talos.vectors", description="Check a folder of vectors.")
    parser.add_argument("folder", nargs="?", type=Path, default=DEFAULT_FOLDER, metavar="DIR")
    parser.add_argument("-k", "--kind", action="append", help="only this kind (may be repeated)")
    parser.add_argument("-a", "--all", action="store_true", help="show every difference, in full")
    options = parser.parse_args(arguments)

    wanted = [kind for kind in kinds(options.folder) if not options.kind or kind in options.kind]
    if not wanted:
        print(f"no vectors in {options.folder}", file=sys.stderr)
        return 1
    failed = False
    for kind in wanted:
        try:
            module = checker(kind)
        except ImportError as error:
            print(f"{kind}: its checker does not load: {error}", flush=True)
            failed = True
            continue
        if module is None:
            print(f"{kind}: not checked", flush=True)
            continue
        outcome = run(module, kind, options.folder)
        print(f"{kind}: {outcome.passed}/{outcome.total}", flush=True)
        failed = failed or bool(outcome.differences)
        shown = list(outcome.differences.items())[: None if options.all else MAX_SHOWN]
        for name, text in shown:
            print(f"  {name}:\n" + textwrap.indent(text if options.all else text[:MAX_WIDTH], "    "))
        if len(shown) < len(outcome.differences):
            print(f"  ... and {len(outcome.differences) - len(shown)} more")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
