"""certificates.py - what tls+tcp asks for on both sides."""
import subprocess


def make_certificates(folder):
    """A CA, and of it a certificate for this host."""
    new = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
    names = "subjectAltName=DNS:127.0.0.1,IP:127.0.0.1"
    subprocess.run(
        # Python from 3.13 on demands keyUsage of a CA.
        f"openssl req -x509 {new} -days 2 -subj /CN=ca -keyout ca.key -out ca.pem"
        " -addext keyUsage=critical,keyCertSign,cRLSign &&"
        f"openssl req {new} -subj /CN=own -keyout own.key -out own.csr &&"
        f"printf '%s\\n' {names} authorityKeyIdentifier=keyid > own.ext && openssl x509 -req -in own.csr -CA ca.pem -CAkey ca.key"
        " -CAcreateserial -days 2 -extfile own.ext -out own.pem && chmod 600 own.key",
        shell=True, cwd=folder, check=True, capture_output=True)
