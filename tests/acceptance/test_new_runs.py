"""What `bide new` made runs, as its own README says: each command of it, beside the service."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bide.scaffold.choices import Choice
from bide.scaffold.project import write
from tests.processes import Service

#: What `make run` sets, and the keys that it makes.
DEVELOPMENT = {
    "BIDE_KEYRING_FILE": "keyring.json",
    "BIDE_WEBHOOK_SECRETS": "whsec_" + "c2VjcmV0" * 4,
    "BIDE_CALLBACK_BASE_URL": "http://127.0.0.1:8000",
    "BIDE_WEBHOOK_ALLOW_LOOPBACK": "true",
}


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("yaml", [False, True], ids=["code", "yaml"])
@pytest.mark.parametrize("via", ["inbox", "webhook"])
def test_the_commands_of_the_readme_work(tmp_path: Path, via: str, yaml: bool) -> None:
    """An order that is submitted and accepted by the page's own lines is a success."""
    write(Choice(name="shop", via=via, yaml=yaml), tmp_path)
    folder = tmp_path / "shop"
    page = (folder / "README.md").read_text(encoding="utf-8")
    block = re.findall(r"^    (.*)$", page[page.index("running service:") :], re.MULTILINE)
    submit, pending, complete, executions = block[-4:]
    extra = DEVELOPMENT if via == "webhook" else {}
    exports = [line for line in block if line.startswith("export ")]
    assert exports == (["export BIDE_KEYRING_FILE=keyring.json"] if extra else [])
    if extra:
        shell(folder, "bide keys generate --file keyring.json")

    with Service("shop.app:app", folder, env=extra, cwd=folder):
        execution = shell(folder, *exports, submit).strip()
        waiting = f"until {pending} | grep -q {execution}_1_0; do sleep 0.1; done"
        shell(folder, *exports, f"timeout 60 bash -c '{waiting}'")
        shell(folder, *exports, complete.replace(" ID ", f" {execution}_1_0 "))
        done = "until bide executions | grep -q SUCCEEDED; do sleep 0.1; done"
        shell(folder, *exports, f"timeout 60 bash -c '{done}'", executions)


def shell(folder: Path, *lines: str) -> str:
    """Run some lines where the project is, as its user does."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-e", "-c", "\n".join(lines)], cwd=folder, env={**os.environ, "PATH": path},
        capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout
