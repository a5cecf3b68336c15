"""The window: ``python app.py [--source camera:0 | clip.mp4 | folder/] [--model final]``."""

import sys

from handviz.__main__ import start_window

if __name__ == "__main__":
    sys.exit(start_window())
