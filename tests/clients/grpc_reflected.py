"""Talks with a live server through Python grpcio with nothing but what the server's reflection tells (v1alpha)."""

import unittest

from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_calls import Calls, on_each_port
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase


class Reflected(Calls, unittest.TestCase):
    def call(self, channel, method, metadata, **fields):
        service, name = method.split("/")
        pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
        described = pool.FindServiceByName(f"synapse.v1.{service}").methods_by_name[name]
        request, answer = GetMessageClass(described.input_type), GetMessageClass(described.output_type)
        kind = channel.unary_stream if described.server_streaming else channel.unary_unary
        call = kind(f"/synapse.v1.{method}", request_serializer=request.SerializeToString, response_deserializer=answer.FromString)
        return call(request(**fields), metadata=metadata, timeout=30)

    @on_each_port
    def test_the_services_are_listed_without_a_key(self, channel):
        listed = set(ProtoReflectionDescriptorDatabase(channel).get_services())
        ours = {f"synapse.v1.{name}Service" for name in ["Agent", "Chat", "Key", "Orchestration", "Run", "Session"]}
        others = {"grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"}
        self.assertLessEqual(ours | {"grpc.health.v1.Health"}, listed)
        self.assertLessEqual(listed, ours | others)


if __name__ == "__main__":
    unittest.main()
