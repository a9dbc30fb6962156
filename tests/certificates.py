"""Certificates for servers on this machine."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


def make_certificate(folder: Path, name: str, alternative: str) -> Path:
    """Make a certificate, its key in the same file; without openssl the test is skipped.

    `alternative` is whom it is for: `DNS:` and a host, or `IP:` and an address.
    """
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the openssl command to make a certificate")
    made = folder / "both.pem"
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-nodes", "-keyout", "-", "-days", "2", "-subj", f"/CN={name}"]
    command += ["-addext", f"subjectAltName={alternative}"]
    made.write_bytes(subprocess.run(command, check=True, capture_output=True).stdout)
    return made
