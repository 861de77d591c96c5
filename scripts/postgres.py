"""A PostgreSQL of one's own for as long as something runs, from the wheel that the tests use.

python -m scripts.postgres                    prints the address of a new database; ends at Ctrl-C
python -m scripts.postgres COMMAND WORD...    runs the command with that address in place of each
                                              {url} among the words, and ends with it
python -m scripts.postgres --durable ...      syncs every commit, as production does
"""

import contextlib
import signal
import subprocess
import sys
from collections.abc import Sequence

from tests.servers.postgres import PostgresServer


def main(words: Sequence[str]) -> int:
    """Start the server, wait for the command or for a signal; gives the command's exit code."""
    durable = list(words[:1]) == ["--durable"]
    command = words[1:] if durable else words
    with PostgresServer(durable=durable) as server, server.database() as url:
        if command:
            filled = [word.replace("{url}", url) for word in command]
            return subprocess.run(filled, check=False).returncode
        print(url, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()
        return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends the blocks above, as Ctrl-C
    sys.exit(main(sys.argv[1:]))
