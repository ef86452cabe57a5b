"""nkeys.py - an operator, an account and a user of NATS, as `nsc` would make them.

    operator = Operator(folder)
    operator.server()        # for the server's configuration: whom it trusts
    operator.credentials()   # what is in the user's .creds file

https://docs.nats.io/running-a-nats-service/configuration/securing_nats/auth_intro/jwt :
keys are Ed25519 in base32 behind a type, with a CRC-16; JWTs are signed with them.
"""
import base64
import json
import subprocess
import time

OPERATOR, ACCOUNT, USER, SEED = 14 << 3, 0, 20 << 3, 18 << 3
WITHOUT_LIMIT = {name: -1 for name in (
    "subs", "data", "payload", "imports", "exports", "conn", "leaf", "mem_storage",
    "disk_storage", "streams", "consumer")} | {"wildcards": True}


def _crc16(data):
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1) ^ (0x1021 if crc & 0x8000 else 0)
        crc &= 0xffff
    return crc.to_bytes(2, "little")


def _base32(data):
    return base64.b32encode(data + _crc16(data)).decode().rstrip("=")


def _base64(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


class _Key:
    def __init__(self, folder, name, kind):
        self.file = folder / f"{name}.pem"
        self._openssl("genpkey", "-algorithm", "ed25519", "-out", str(self.file))
        secret = self._openssl("pkey", "-in", str(self.file), "-outform", "DER")[-32:]
        public = self._openssl("pkey", "-in", str(self.file), "-pubout", "-outform", "DER")[-32:]
        self.public = _base32(bytes([kind]) + public)
        self.seed = _base32(bytes([SEED | kind >> 5, (kind & 31) << 3]) + secret)

    @staticmethod
    def _openssl(*words):
        return subprocess.run(["openssl", *words], check=True, capture_output=True).stdout

    def jwt(self, about, name, claims):
        """A JWT about `about`, signed by this key."""
        head = _base64(json.dumps({"typ": "JWT", "alg": "ed25519-nkey"}).encode())
        body = _base64(json.dumps({
            "jti": f"{name}-{time.time_ns()}", "iat": int(time.time()), "iss": self.public,
            "name": name, "sub": about.public, "nats": claims | {"version": 2}}).encode())
        signed = self.file.with_suffix(".signed")
        signed.write_text(f"{head}.{body}")
        signature = self._openssl("pkeyutl", "-sign", "-rawin", "-inkey", str(self.file),
                                  "-in", str(signed))
        return f"{head}.{body}.{_base64(signature)}"


class Operator:
    def __init__(self, folder):
        folder.mkdir(mode=0o700)
        self.folder = folder
        self.key = _Key(folder, "operator", OPERATOR)
        self.system, self.account = (_Key(folder, name, ACCOUNT) for name in ("system", "shop"))
        self.user = _Key(folder, "user", USER)

    def server(self):
        (self.folder / "operator.jwt").write_text(self.key.jwt(
            self.key, "operator", {"type": "operator", "system_account": self.system.public}))
        accounts = {self.system: "system", self.account: "shop"}
        preload = "\n".join(
            f"{key.public}: " + self.key.jwt(key, name, {
                "type": "account", "limits": WITHOUT_LIMIT if name == "shop" else
                WITHOUT_LIMIT | {"mem_storage": 0, "disk_storage": 0}})
            for key, name in accounts.items())
        return (f'operator: "{self.folder}/operator.jwt"\n'
                f"system_account: {self.system.public}\nresolver: MEMORY\n"
                f"resolver_preload {{\n{preload}\n}}\n")

    def credentials(self):
        limits = {"subs": -1, "data": -1, "payload": -1}
        jwt = self.account.jwt(self.user, "checkout", {"type": "user", **limits})
        return (f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
                f"-----BEGIN USER NKEY SEED-----\n{self.user.seed}\n"
                "------END USER NKEY SEED------\n")
