"""cluster.py - a private PostgreSQL cluster for a test, and a PgBouncer in front of one."""
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from stack import free_port


def postgres_program(name):
    found = shutil.which(name)
    if found:
        return found
    versions = Path("/usr/lib/postgresql").glob(f"*/bin/{name}")
    return str(sorted(versions, key=lambda path: float(path.parts[4]))[-1])


def roomy_folder():
    """A folder in memory, if there is room: migrate insists on fsync, which costs nothing there."""
    memory = "/dev/shm"
    if not os.path.isdir(memory) or shutil.disk_usage(memory).free < 2 << 30:
        return "/tmp"
    return memory


class Cluster:
    """On a unix socket and on 127.0.0.1; PostgreSQL will not run as root."""

    def __init__(self, hba="local all all trust\nhost all all 127.0.0.1/32 trust\n",
                 encoding="UTF8"):
        self.folder = tempfile.mkdtemp(prefix="checkout-cluster-", dir=roomy_folder())
        self.port = free_port()
        self.prefix = []
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres", "postgres")
            self.prefix = ["runuser", "-u", "postgres", "--"]
        os.chmod(self.folder, 0o755)
        self.data = f"{self.folder}/data"
        self.as_postgres("initdb", "-D", self.data, "-U", "postgres", "--auth=trust",
                         "--no-sync", "--locale=C", f"--encoding={encoding}")
        Path(self.data, "pg_hba.conf").write_text(hba, encoding="ascii")
        self.start()

    def start(self, options=""):
        self.as_postgres("pg_ctl", "-D", self.data, "-l", f"{self.folder}/log", "-o",
                         f"-k {self.folder} -p {self.port} -c listen_addresses=127.0.0.1 "
                         f"{options}", "-w", "start")

    def halt(self, mode="immediate"):
        self.as_postgres("pg_ctl", "-D", self.data, "-m", mode, "-w", "stop")

    def restart(self, options=""):
        self.halt("fast")  # nothing to recover
        self.start(options)

    def as_postgres(self, name, *words):
        subprocess.run([*self.prefix, postgres_program(name), *words], check=True,
                       stdout=subprocess.DEVNULL, cwd="/", timeout=120)

    def stop(self):
        self.halt()
        shutil.rmtree(self.folder)

    def psql(self, sql, database="checkout", role="postgres", **more):
        words = ["psql", "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", self.folder,
                 "-p", str(self.port), "-U", role, "-d", database, "-c", sql]
        return subprocess.run(words, check=more.pop("check", True), text=True, timeout=60,
                              capture_output=True, **more)

    def make_database(self, name="checkout", more=""):
        """Makes the database anew, owned by a role with CREATEROLE."""
        self.psql("DO $$ BEGIN CREATE ROLE checkout_owner LOGIN CREATEROLE;"
                  " EXCEPTION WHEN duplicate_object THEN NULL; END $$", "postgres")
        self.psql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", "postgres")
        self.psql(f"CREATE DATABASE {name} OWNER checkout_owner {more}", "postgres")

    def url(self, role="checkout_owner", database="checkout", port=None):
        return f"postgresql://{role}@127.0.0.1:{port or self.port}/{database}"


class Pooler:
    """PgBouncer in front of a cluster.  It refuses to run as root, too."""

    ROLES = ("owner", "inventory", "payment", "orders", "sandbox")

    def __init__(self, cluster, mode):
        self.cluster = cluster
        self.port = free_port()
        self.folder = tempfile.mkdtemp(prefix="checkout-pooler-", dir="/tmp")
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres", "postgres")
        Path(self.folder, "users").write_text(
            "".join(f'"checkout_{role}" ""\n' for role in self.ROLES), encoding="ascii")
        os.chmod(f"{self.folder}/users", 0o644)
        self.process = None
        self.start(mode)

    def write(self, mode):
        Path(self.folder, "ini").write_text(f"""
[databases]
checkout = host=127.0.0.1 port={self.cluster.port} dbname=checkout
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir =
auth_type = trust
auth_file = {self.folder}/users
pool_mode = {mode}
default_pool_size = 40
""", encoding="ascii")
        os.chmod(f"{self.folder}/ini", 0o644)

    def start(self, mode):
        self.write(mode)
        with open(f"{self.folder}/log", "ab") as log:
            self.process = subprocess.Popen(
                [*self._user(), "setpriv", "--pdeathsig", "KILL", "pgbouncer",
                 f"{self.folder}/ini"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/")

    def reload(self, mode):
        """Changes the mode, for open connections too."""
        self.write(mode)
        self.process.send_signal(signal.SIGHUP)

    @staticmethod
    def _user():
        if os.geteuid() != 0:
            return []
        return ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups"]

    def halt(self):
        self.process.kill()
        self.process.wait(30)

    def stop(self):
        self.halt()
        shutil.rmtree(self.folder)
