"""An authenticator app: RFC 6238 with the values that all of these packages use."""

import base64
import hashlib
import hmac
import struct
import time


def code(secret, shift=0):
    """The code of the half minute now; `shift` half minutes later."""
    key = base64.b32decode(secret.upper() + "=" * (-len(secret) % 8))
    digest = hmac.new(key, struct.pack(">Q", int(time.time()) // 30 + shift), hashlib.sha1).digest()
    start = digest[-1] & 15
    number = struct.unpack(">I", digest[start : start + 4])[0] & 0x7FFFFFFF
    return f"{number % 1_000_000:06}"
