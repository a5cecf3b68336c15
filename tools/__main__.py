"""``python -m tools``: list all tools."""

import sys

import tools

if __name__ == "__main__":
    sys.stdout.writelines(f"  python -m tools.{name:17} {text}\n" for name, text in tools.overview().items())
