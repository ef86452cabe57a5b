"""server.py - a PostgreSQL outside of ./up, on TCP, with password authentication."""
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from stack import free_port

IS_ROOT = os.geteuid() == 0
OWNER = "owner-0f3c/@ &s"  # of the role shop; not in a URL as it is


def postgres_folder():
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"),
                   key=lambda path: int(path.parts[-3]))
    return found[-1].parent


class Server:
    """PostgreSQL on TCP; every login needs a password."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="checkout-server-", dir="/tmp"))
        self.folder.chmod(0o755)
        self.data, self.port = self.folder / "data", free_port()
        if IS_ROOT:
            shutil.chown(self.folder, "postgres", "postgres")
        secret = self.folder / "secret"
        secret.write_text("root\n")
        secret.chmod(0o644)
        self.run("initdb", "-D", self.data, "-U", "postgres", "--auth=scram-sha-256",
                 f"--pwfile={secret}", "--no-sync")
        self.run("pg_ctl", "-D", self.data, "-l", self.folder / "log", "-w", "-o",
                 f"-p {self.port} -k {self.folder}", "start")
        self.psql("postgres", f"CREATE ROLE shop LOGIN CREATEROLE PASSWORD '{OWNER}'")
        self.psql("postgres", "CREATE DATABASE checkout OWNER shop")

    def run(self, name, *words):
        prefix = ["runuser", "-u", "postgres", "--"] if IS_ROOT else []
        subprocess.run([*prefix, postgres_folder() / name, *map(str, words)], check=True,
                       stdout=subprocess.DEVNULL, cwd="/", timeout=120)

    def psql(self, database, statement):
        done = subprocess.run(
            ["psql", "-XAtq", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres",
             "-d", database, "-c", statement], env={**os.environ, "PGPASSWORD": "root"},
            check=True, capture_output=True, text=True, timeout=60)
        return done.stdout.split("\n")[:-1]

    def stop(self):
        self.run("pg_ctl", "-D", self.data, "-m", "immediate", "-w", "stop")
        shutil.rmtree(self.folder)
