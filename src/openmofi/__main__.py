"""`python -m openmofi` is the `openmofi` command."""

from openmofi.cli.main import run

if __name__ == "__main__":
    run()
