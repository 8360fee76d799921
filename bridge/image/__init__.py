"""The steps on the Actions runner: resolve, download, build, smoke test, push, promote, report."""
