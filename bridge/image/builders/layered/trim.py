"""Takes out of the installed packages what serving reads nowhere, and out of their RECORD, so that both agree.

Left out are MLflow's user interface (its server would answer without pages, and no model is served by it); the modules
that pytest alone collects, `test_*.py` in a folder `tests`; and the C or Cython of an extension module that lies beside
it compiled. All else in folders of tests stays, for some packages import helpers from there. Names, releases and
requirements of what is installed stay readable as they were.

Runs inside the build, under any Python from 3.8 on: it imports nothing of ours.
"""

import csv
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container

_INTERFACE = "mlflow/server/js/build/"


def left_out(path: str, compiled: "Container[str]" = ()) -> bool:
    """Tell whether a file, named as in RECORD by its path from site-packages, is left out.

    `compiled` are the extension modules that are there, by their paths up to the first dot.
    """
    *folders, name = path.split("/")
    if ".." in folders or path.startswith("/"):
        return False
    if path.startswith(_INTERFACE) or ("tests" in folders and name.startswith("test_") and name.endswith(".py")):
        return True
    return name.endswith((".c", ".cpp", ".pyx")) and _stem(path) in compiled


def _stem(path: str) -> str:
    folder, name = os.path.split(path)
    return os.path.join(folder, name.split(".")[0])  # noqa: PTH118


def trim(site_packages: str) -> None:
    """Remove what is left out from that folder, with the folders that are empty then."""
    for entry in sorted(os.listdir(site_packages)):  # noqa: PTH208
        record = os.path.join(site_packages, entry, "RECORD")  # noqa: PTH118
        if entry.endswith(".dist-info") and os.path.isfile(record):  # noqa: PTH113
            _trim_package(site_packages, record)


def _trim_package(site_packages: str, record: str) -> None:
    with open(record, encoding="utf-8", newline="") as file:  # noqa: PTH123
        lines = file.readlines()
    paths = [next(csv.reader([line]), [""])[0] for line in lines]
    compiled = {_stem(path) for path in paths if path.endswith(".so")}
    kept = []
    for path, line in zip(paths, lines):  # noqa: B905  3.8
        if left_out(path, compiled):
            _remove(site_packages, path)
        else:
            kept.append(line)
    if len(kept) < len(lines):
        with open(record, "w", encoding="utf-8", newline="") as file:  # noqa: PTH123
            file.writelines(kept)


def _remove(site_packages: str, path: str) -> None:
    try:
        os.remove(os.path.join(site_packages, path))  # noqa: PTH107, PTH118
        folder = os.path.dirname(path)  # noqa: PTH120
        while folder:
            os.rmdir(os.path.join(site_packages, folder))  # noqa: PTH106, PTH118
            folder = os.path.dirname(folder)  # noqa: PTH120
    except OSError:
        return  # it is gone already, or its folder holds more


if __name__ == "__main__":
    for folder in filter(os.path.isdir, sys.argv[1:]):
        trim(folder)
