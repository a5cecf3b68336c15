"""The window: ``python app.py [--source camera:0 | clip.mp4 | folder/] [--model final]``."""

import sys

from handviz.gui.app import main

if __name__ == "__main__":
    sys.exit(main())
