"""Calls the methods of the gRPC server: `grpc_client.py ADDRESS [CERTIFICATE [TOKEN]]`; prints the status of each call, with its
details or what it brought."""

import json
import sys
import time

import grpc

address, certificate, token = sys.argv[1], sys.argv[2:3], sys.argv[3:4]
if certificate:
    with open(certificate[0], "rb") as file:
        credentials = grpc.ssl_channel_credentials(file.read())
    options = [("grpc.ssl_target_name_override", "app.test")]
    channel = grpc.secure_channel(address, credentials, options)
else:
    channel = grpc.insecure_channel(address)

metadata = [("authorization", f"Bearer {token[0]}")] if token else []
echo = "/peers.Echo/"


def each():
    asked, came = [], []

    def ask():
        for number in range(3):
            asked.append(number)
            yield b"%d" % number
            # The next one is sent after the answer to this one: it goes both ways at once.
            began = time.monotonic()
            while len(came) <= number and time.monotonic() - began < 10:
                time.sleep(0.005)

    for answer in channel.stream_stream(echo + "Each")(ask(), timeout=15):
        came.append(answer)
    return b" ".join(came)


def tell():
    told, call = channel.unary_unary(echo + "Tell").with_call(
        b"hello", timeout=15, metadata=[("x-user-id", "1"), ("x-mine", "yes")]
    )
    trailers = sorted(f"{name}={value}" for name, value in call.trailing_metadata())
    return told + b"\ntrailers: " + " ".join(trailers).encode()


results = {}
for name, call in (
    ("once", lambda: channel.unary_unary(echo + "Once")(b"hello", timeout=15)),
    ("large", lambda: b"%d" % len(channel.unary_unary(echo + "Once")(b"x" * 3000000, timeout=15))),
    ("thrice", lambda: b" ".join(channel.unary_stream(echo + "Thrice")(b"hello", timeout=15))),
    ("last", lambda: channel.stream_unary(echo + "Last")(iter([b"1", b"2"]), timeout=15)),
    ("each", each),
    ("tell", tell),
    ("fail", lambda: channel.unary_unary(echo + "Fail")(b"hello", timeout=15)),
    ("sleep", lambda: channel.unary_unary(echo + "Sleep")(b"hello", timeout=0.5)),
    ("nowhere", lambda: channel.unary_unary("/peers.Nowhere/Once")(b"hello", timeout=15)),
    (
        "private",
        lambda: channel.unary_unary("/peers.Private/Once")(b"hello", timeout=15, metadata=metadata),
    ),
    (
        "group",
        lambda: channel.unary_unary("/peers.Group/Once")(b"hello", timeout=15, metadata=metadata),
    ),
):
    try:
        results[name] = ["OK", call().decode()]
    except grpc.RpcError as error:
        results[name] = [error.code().name, error.details()]
json.dump(results, sys.stdout)
