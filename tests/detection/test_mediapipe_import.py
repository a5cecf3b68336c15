"""MediaPipe is imported without plot and sound libraries, and both can be imported afterwards."""

import subprocess
import sys

from handviz.core.paths import PROJECT_ROOT


def run(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], cwd=PROJECT_ROOT, check=True, timeout=120)


def test_plots_and_sound_are_not_loaded_and_can_be_later() -> None:
    run(
        "import sys, handviz.detection.landmarker\n"
        "assert not {'matplotlib', 'matplotlib.pyplot', 'sounddevice'} & set(sys.modules)\n"
        "import matplotlib.figure\n"
        "assert matplotlib.figure.Figure(figsize=(1, 1)).subplots() is not None"
    )


def test_what_is_loaded_already_stays() -> None:
    run(
        "import sys, matplotlib\n"
        "import handviz.detection.landmarker\n"
        "assert sys.modules['matplotlib'] is matplotlib\n"
        "assert matplotlib.__version__"
    )
