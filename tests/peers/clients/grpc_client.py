"""Calls both methods of the gRPC server: `grpc_client.py ADDRESS [CERTIFICATE]`; prints the status of each call, with its
details or what it brought."""

import json
import sys

import grpc

address, certificate = sys.argv[1], sys.argv[2:]
if certificate:
    with open(certificate[0], "rb") as file:
        credentials = grpc.ssl_channel_credentials(file.read())
    options = [("grpc.ssl_target_name_override", "app.test")]
    channel = grpc.secure_channel(address, credentials, options)
else:
    channel = grpc.insecure_channel(address)

results = {}
for name, call in (
    ("once", lambda: channel.unary_unary("/peers.Echo/Once")(b"hello", timeout=15)),
    ("thrice", lambda: b" ".join(channel.unary_stream("/peers.Echo/Thrice")(b"hello", timeout=15))),
    ("private", lambda: channel.unary_unary("/peers.Private/Once")(b"hello", timeout=15)),
):
    try:
        results[name] = ["OK", call().decode()]
    except grpc.RpcError as error:
        results[name] = [error.code().name, error.details()]
json.dump(results, sys.stdout)
