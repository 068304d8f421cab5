"""A gRPC server: `grpc_server.py PORT`. One method that sends back what it gets, and one that streams it three times."""

import sys
from concurrent import futures

import grpc


class Echo(grpc.GenericRpcHandler):
    def service(self, call):
        if call.method == "/peers.Echo/Once":
            return grpc.unary_unary_rpc_method_handler(lambda message, context: message)
        if call.method == "/peers.Echo/Thrice":
            return grpc.unary_stream_rpc_method_handler(lambda message, context: iter([message] * 3))
        return None


server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
server.add_generic_rpc_handlers((Echo(),))
assert server.add_insecure_port(f"127.0.0.1:{sys.argv[1]}")
server.start()
server.wait_for_termination()
