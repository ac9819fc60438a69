"""Providers that answer as a test says, and certificates for them."""

import datetime as dt
import socket
import ssl
import threading
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class ScriptedUpstream:
    """A provider that answers every request with the same bytes, `first` ones before. Keeps what it was sent."""

    def __init__(self, answer, *, close=True, tls=None, pieces=None, first=()):
        self.answer = answer
        self.close = close
        self.tls = tls
        self.pieces = pieces or [answer]
        self.first = list(first)
        self.requests = []
        self.connections = 0
        self.gone = threading.Event()
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def _accept(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        try:
            if self.tls is not None:
                connection = self.tls.wrap_socket(connection, server_side=True)
            while True:
                data = b""
                while b"\r\n\r\n" not in data:
                    piece = connection.recv(65536)
                    if not piece:
                        self.gone.set()
                        return
                    data += piece
                head, _, body = data.partition(b"\r\n\r\n")
                lengths = [line for line in head.split(b"\r\n") if b"content-length" in line]
                length = int(lengths[0].split(b":")[1]) if lengths else 0
                while len(body) < length:
                    body += connection.recv(65536)
                self.requests.append((head, body))
                for piece in [self.first.pop(0)] if self.first else self.pieces:
                    connection.sendall(piece)
                    time.sleep(0.02)
                if self.close:
                    connection.close()
                    return
        except OSError:
            self.gone.set()
            return


def answer_of(body, *lines, status="200 OK"):
    head = [f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {len(body)}", *lines]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def certificate(directory, name, *, days=1):
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=10))
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = directory / f"{name}.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + built.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context, built.public_bytes(serialization.Encoding.PEM).decode()
