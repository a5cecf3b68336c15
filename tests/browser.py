"""Chromium without a window, in a process of its own: ``python browser.py FILE SCRIPT``, for Qt allows one of a kind.

Opens the file, runs the JavaScript, and prints as JSON what that gave, and what the page wanted from elsewhere.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

MAX_S = 90
QUIET_CHROMIUM = {
    "QT_QPA_PLATFORM": "offscreen",
    # Chromium's sandbox refuses to run as root, as containers do.
    "QTWEBENGINE_DISABLE_SANDBOX": "1",
    "QTWEBENGINE_CHROMIUM_FLAGS": "--no-sandbox --disable-gpu --disable-dev-shm-usage --lang=en",
}


def run_in_browser(path: Path, script: str) -> dict[str, Any]:
    """Return ``result`` of the script, ``requests`` for anything but the file, and ``messages`` of its console."""
    command = [sys.executable, __file__, str(path), script]
    environment = os.environ | QUIET_CHROMIUM
    outcome = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=MAX_S, check=False)
    assert outcome.returncode == 0, outcome.stderr
    answer: dict[str, Any] = json.loads(outcome.stdout.splitlines()[-1])
    return answer


def main(path: str, script: str) -> int:
    """Run the browser, in its own process."""
    from PyQt6.QtCore import QCoreApplication, Qt, QUrl

    QCoreApplication.setAttribute(Qt.ApplicationAttribute.AA_ShareOpenGLContexts)
    from PyQt6.QtWebEngineCore import QWebEnginePage, QWebEngineProfile, QWebEngineUrlRequestInterceptor
    from PyQt6.QtWidgets import QApplication

    requests: list[str] = []
    messages: list[str] = []

    class Page(QWebEnginePage):
        """A page that records its console messages."""

        def javaScriptConsoleMessage(self, level, message, line, source) -> None:  # noqa: N802
            """Override Qt's callback."""
            messages.append(message)

    class Interceptor(QWebEngineUrlRequestInterceptor):
        """An interceptor that records requests."""

        def interceptRequest(self, info) -> None:  # noqa: N802
            """Override Qt's callback."""
            if info.requestUrl() != QUrl.fromLocalFile(path) and info.requestUrl().scheme() != "data":
                requests.append(info.requestUrl().toString())

    application = QApplication(["browser"])
    profile, interceptor = QWebEngineProfile(), Interceptor()
    profile.setUrlRequestInterceptor(interceptor)
    page = Page(profile)

    def answer(result: object) -> None:
        sys.stdout.write(json.dumps({"result": result, "requests": requests, "messages": messages}) + "\n")
        sys.stdout.flush()
        # Qt's own way down takes a second, and complains where the page outlives its profile.
        os._exit(0)

    page.loadFinished.connect(lambda is_loaded: page.runJavaScript(script, answer) if is_loaded else os._exit(3))
    page.load(QUrl.fromLocalFile(path))
    return application.exec()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
