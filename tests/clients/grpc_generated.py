"""Talks with a live server through Python grpcio and the code that grpcio-tools generates from `proto/`."""

import importlib
import unittest

import grpc
from grpc_calls import ADDRESSES, KEY, Calls, bearer, on_each_port
from synapse.v1 import agents_pb2, agents_pb2_grpc, chat_pb2, chat_pb2_grpc

MODULES = {"Agent": "agents", "Chat": "chat", "Key": "keys", "Orchestration": "orchestrations", "Session": "sessions"}


class Generated(Calls, unittest.TestCase):
    def call(self, channel, method, metadata, **fields):
        service, name = method.split("/")
        module = MODULES[service.removesuffix("Service")]
        messages = importlib.import_module(f"synapse.v1.{module}_pb2")
        stub = getattr(importlib.import_module(f"synapse.v1.{module}_pb2_grpc"), f"{service}Stub")(channel)
        request = messages.DESCRIPTOR.services_by_name[service].methods_by_name[name].input_type
        return getattr(stub, name)(getattr(messages, request.name)(**fields), metadata=metadata, timeout=30)

    @on_each_port
    def test_metadata_goes_both_ways(self, channel):
        agents = agents_pb2_grpc.AgentServiceStub(channel)
        metadata = [*bearer(KEY), ("x-request-id", "the-callers-own")]
        _, call = agents.ListAgents.with_call(agents_pb2.ListAgentsRequest(), metadata=metadata, timeout=30)
        self.assertEqual(dict(call.initial_metadata())["x-request-id"], "the-callers-own")

    @on_each_port
    def test_a_stream_can_be_left(self, channel):
        chats = chat_pb2_grpc.ChatServiceStub(channel)
        events = chats.StreamChat(chat_pb2.ChatRequest(message="hello", agent="talker"), metadata=bearer(KEY), timeout=30)
        self.assertEqual(next(events).WhichOneof("event"), "session")
        events.cancel()
        with self.assertRaises(grpc.RpcError):
            list(events)
        self.assertEqual(events.code(), grpc.StatusCode.CANCELLED)

    def test_a_connection_is_shared_by_many_streams(self):
        with grpc.insecure_channel(ADDRESSES[0]) as channel:
            chats = chat_pb2_grpc.ChatServiceStub(channel)
            requests = [chat_pb2.ChatRequest(message=str(number), agent="talker") for number in range(50)]
            streams = [chats.StreamChat(request, metadata=bearer(KEY), timeout=30) for request in requests]
            answers = [[event.response.content for event in stream if event.WhichOneof("event") == "response"] for stream in streams]
            self.assertEqual(answers, [[f"You said: {number}"] for number in range(50)])


if __name__ == "__main__":
    unittest.main()
