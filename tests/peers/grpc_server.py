"""A gRPC server: `grpc_server.py PORT [CERTIFICATE KEY]`. Methods that send back what they get: once, three times, each as it comes;
one that says what it was told and ends with trailers; one that is too slow. It also tells whether it is well (grpc.health.v1)."""

import sys
import time
from concurrent import futures

import grpc


def tell(message, context):
    context.set_trailing_metadata((("x-checksum", "abc"), ("x-user-id", "planted")))
    told = {name: value for name, value in context.invocation_metadata() if isinstance(value, str)}
    return "\n".join(f"{name}: {value}" for name, value in sorted(told.items())).encode()


def sleep(message, context):
    began = time.monotonic()
    while context.is_active() and time.monotonic() - began < 10:
        time.sleep(0.01)
    return b"late"


def fail(message, context):
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not like that: 한글 100%")


METHODS = {
    "/peers.Echo/Once": grpc.unary_unary_rpc_method_handler(lambda message, context: message),
    "/peers.Echo/Thrice": grpc.unary_stream_rpc_method_handler(
        lambda message, context: iter([message] * 3)
    ),
    "/peers.Echo/Each": grpc.stream_stream_rpc_method_handler(lambda messages, context: messages),
    "/peers.Echo/Last": grpc.stream_unary_rpc_method_handler(
        lambda messages, context: list(messages)[-1]
    ),
    "/peers.Echo/Tell": grpc.unary_unary_rpc_method_handler(tell),
    "/peers.Echo/Sleep": grpc.unary_unary_rpc_method_handler(sleep),
    "/peers.Echo/Fail": grpc.unary_unary_rpc_method_handler(fail),
    "/peers.Private/Once": grpc.unary_unary_rpc_method_handler(lambda message, context: message),
    # A message of one field, SERVING.
    "/grpc.health.v1.Health/Check": grpc.unary_unary_rpc_method_handler(
        lambda message, context: b"\x08\x01"
    ),
}


class Echo(grpc.GenericRpcHandler):
    def service(self, call):
        return METHODS.get(call.method)


server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
server.add_generic_rpc_handlers((Echo(),))
address = f"127.0.0.1:{sys.argv[1]}"
if sys.argv[2:]:
    pair = [open(path, "rb").read() for path in sys.argv[2:4]]
    credentials = grpc.ssl_server_credentials([(pair[1], pair[0])])
    assert server.add_secure_port(address, credentials)
else:
    assert server.add_insecure_port(address)
server.start()
server.wait_for_termination()
