"""A PostgreSQL server of one's own, on a socket in a temporary folder; never as root."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

SOFTWARE = Path("/usr/lib/postgresql")
PASSWORD = "s3cret/w@rd"


def binaries() -> Path | None:
    """The newest version's that has pgvector."""
    found = [
        path
        for path in SOFTWARE.glob("*/bin")
        if Path(f"/usr/share/postgresql/{path.parent.name}/extension/vector.control").is_file()
        and (path / "initdb").is_file()
    ]
    return max(found, key=lambda path: float(path.parent.name), default=None)


def why_none() -> str:
    """Why no server can be started here; "" where one can."""
    if binaries() is None:
        return "no PostgreSQL server with pgvector (Debian: apt-get install postgresql-17-pgvector)"
    try:
        import psycopg  # noqa: F401
    except ImportError:
        return "psycopg is not installed: pip install 'openmofi[postgres]'"
    return "" if _user() or os.getuid() else "PostgreSQL does not run as root, and there is no user postgres"


def _user() -> str | None:
    """Whom the server runs as where this is root."""
    if os.getuid():
        return None
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        return None


class PostgresServer:
    """A server with the user `app`, who makes schemas but no extensions, and `guarded`, who has a password.

    Args:
        settings: of the server.
    """

    def __init__(self, **settings: str) -> None:
        self.settings = {
            "fsync": "off",
            "listen_addresses": "",
            "shared_buffers": "32MB",
            "max_connections": "60",
            **settings,
        }
        self.folder, self.bin = Path(tempfile.mkdtemp(prefix="omf")), binaries()
        if _user():
            shutil.chown(self.folder, _user())
        self._run(
            "initdb",
            "-D",
            self.folder / "data",
            "-U",
            "root",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
            "--no-instructions",
        )
        (self.folder / "data/pg_hba.conf").write_text("local all guarded scram-sha-256\nlocal all all trust\n")
        self.process = None
        self.start()
        self.psql(
            "CREATE ROLE app LOGIN",
            f"CREATE ROLE guarded LOGIN PASSWORD '{PASSWORD}'",
            "CREATE DATABASE bare",
            "CREATE DATABASE images",
            "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0",
            *(f"GRANT CREATE ON DATABASE {name} TO app, guarded" for name in ("bare", "images", "latin")),
        )
        self.psql("CREATE EXTENSION vector", database="images")

    def _run(self, program, *arguments):
        subprocess.run(
            [self.bin / program, *arguments],
            check=True,
            capture_output=True,
            user=_user(),
            cwd="/",
            env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
        )

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = {**self.settings, "unix_socket_directories": self.folder}
        self.process = subprocess.Popen(
            [
                self.bin / "postgres",
                "-D",
                self.folder / "data",
                *(word for name, value in settings.items() for word in ("-c", f"{name}={value}")),
            ],
            user=_user(),
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / "log").open("ab"),
        )
        for _ in range(200):
            if not subprocess.run([self.bin / "pg_isready", "-q", "-h", self.folder], check=False).returncode:
                return
            time.sleep(0.05)
        raise RuntimeError((self.folder / "log").read_text())

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """End it at once, as if it were killed: SIGQUIT ends its children too, without a word to the disk."""
        self.process.send_signal(how)
        self.process.wait(30)

    def restart(self) -> None:
        """As after a power failure: it recovers what was committed."""
        self.stop()
        self.start()

    def psql(self, *statements: str, database: str = "postgres") -> list[str]:
        """Run statements as the superuser; the lines of what they give."""
        words = [word for each in statements for word in ("-c", each)]
        done = subprocess.run(
            [
                self.bin / "psql",
                "-qAtX",
                "-v",
                "ON_ERROR_STOP=1",
                "-h",
                self.folder,
                "-U",
                "root",
                "-d",
                database,
                *words,
            ],
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.splitlines()

    def address(self, schema: str = "", *, user: str = "app", database: str = "images") -> str:
        """Of an index."""
        return f"postgresql://{user}@/{database}?host={self.folder}" + (f"&schema={schema}" if schema else "")

    def close(self) -> None:
        """End it, and remove all of it."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
