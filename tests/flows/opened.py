"""Which files of a workspace each stage opens, told by an audit hook in the stages' own processes.

Not told: files that only compiled code opens, such as a memory-mapped one.
"""

from collections import defaultdict
from pathlib import Path

# Python imports a module of this name at its start.
_HOOK = """
import os, sys

words = sys.orig_argv
if "-m" in words and "OPENED" in os.environ:
    root, what = os.getcwd() + os.sep, " ".join(words[words.index("-m") + 1 :])
    log = os.open(os.environ["OPENED"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def hook(event, arguments):
        if event == "open" and isinstance(arguments[0], (str, bytes, os.PathLike)):
            path = os.path.abspath(os.fsdecode(arguments[0]))
            if path.startswith(root):
                os.write(log, f"{what}\\t{path.removeprefix(root)}\\n".encode())

    sys.addaudithook(hook)
"""


def watched(folder: Path) -> dict[str, str]:
    """The variables of a run whose stages tell what they open. folder: an empty one."""
    (folder / "sitecustomize.py").write_text(_HOOK)
    return {"PYTHONPATH": str(folder), "OPENED": str(folder / "opened")}


def opened(folder: Path) -> dict[str, set[str]]:
    """By command, without "python -m": the files below its working folder that it opened, to read or to write."""
    found: dict[str, set[str]] = defaultdict(set)
    for line in (folder / "opened").read_text().splitlines():
        what, _, path = line.partition("\t")
        found[what].add(path)
    return found
