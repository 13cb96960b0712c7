"""What both gRPC clients do; they differ in where they have the messages from."""

import functools
import os

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

# The port that every protocol shares, and the one for gRPC alone.
ADDRESSES = [os.environ["SYNAPSE_ADDRESS"], os.environ["SYNAPSE_GRPC_ADDRESS"]]
KEY = os.environ["SYNAPSE_KEY"]
ADMIN = os.environ["SYNAPSE_ADMIN"]


def bearer(token):
    return [("authorization", f"Bearer {token}")]


def on_each_port(test):
    """Runs a test with a channel to each port."""

    @functools.wraps(test)
    def on_each(self):
        for address in ADDRESSES:
            with self.subTest(address=address), grpc.insecure_channel(address) as channel:
                test(self, channel)

    return on_each


class Calls:
    """Expects `self.call(channel, "Service/Method", metadata=..., **fields)`, which returns an iterator for a streaming rpc."""

    def refused(self, code, reason, channel, method, metadata, **fields):
        with self.assertRaises(grpc.RpcError) as raised:
            answer = self.call(channel, method, metadata=metadata, **fields)
            if hasattr(answer, "__next__"):
                list(answer)
        error = raised.exception
        self.assertEqual(error.code(), code, error.details())
        self.assertTrue(error.details())
        info = error_details_pb2.ErrorInfo()
        self.assertTrue(rpc_status.from_call(error).details[0].Unpack(info))
        self.assertEqual((info.reason, info.domain), (reason, "synapse"))

    @on_each_port
    def test_agents_are_listed_and_described(self, channel):
        listed = self.call(channel, "AgentService/ListAgents", metadata=bearer(KEY))
        self.assertEqual([agent.id for agent in listed.agents], ["echo", "talker", "broken"])
        agent = self.call(channel, "AgentService/GetAgent", metadata=bearer(KEY), agent_id="echo")
        self.assertEqual((agent.name, agent.description), ("Echo", "Says what you say."))

    @on_each_port
    def test_orchestrations_keep_their_edges(self, channel):
        found = self.call(channel, "OrchestrationService/GetOrchestration", metadata=bearer(KEY), orchestration_id="two-steps")
        self.assertEqual([dict(edge) for edge in found.edges], [{"source": "ask", "target": "end"}])

    @on_each_port
    def test_a_chat_is_answered_and_kept(self, channel):
        answer = self.call(channel, "ChatService/Chat", metadata=bearer(KEY), message="hello", agent="talker")
        self.assertEqual((answer.response, answer.agent_id), ("You said: hello", "talker"))
        self.assertEqual(answer.usage.output_tokens, 5)
        kept = self.call(channel, "SessionService/GetSession", metadata=bearer(KEY), session_id=answer.session_id)
        self.assertEqual([(turn.user, turn.assistant) for turn in kept.turns], [("hello", "You said: hello")])
        gone = self.call(channel, "SessionService/DeleteSession", metadata=bearer(KEY), session_id=answer.session_id)
        self.assertEqual(gone.status, "deleted")

    @on_each_port
    def test_a_stream_tells_what_happens(self, channel):
        events = list(self.call(channel, "ChatService/StreamChat", metadata=bearer(KEY), message="hello", agent="talker"))
        kinds = [event.WhichOneof("event") for event in events]
        self.assertEqual((kinds[0], kinds[-2:]), ("session", ["response", "done"]))
        text = "".join(event.text_delta.text for event in events if event.WhichOneof("event") == "text_delta")
        self.assertEqual((text, events[-2].response.content), ("You said: hello", "You said: hello"))
        self.assertGreater(kinds.count("text_delta"), 1)

    @on_each_port
    def test_a_failing_agent_ends_its_stream_and_fails_its_call(self, channel):
        events = list(self.call(channel, "ChatService/StreamChat", metadata=bearer(KEY), message="hello", agent="broken"))
        self.assertEqual([event.WhichOneof("event") for event in events][-2:], ["error", "done"])
        self.refused(grpc.StatusCode.INTERNAL, "AGENT_FAILED", channel, "ChatService/Chat", bearer(KEY), message="hello", agent="broken")

    @on_each_port
    def test_refusals_carry_a_code_and_a_reason(self, channel):
        self.refused(grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED", channel, "AgentService/ListAgents", [])
        self.refused(grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED", channel, "ChatService/StreamChat", bearer("no"), message="x")
        self.refused(grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED", channel, "KeyService/ListKeys", bearer(KEY))
        self.refused(grpc.StatusCode.NOT_FOUND, "NOT_FOUND", channel, "AgentService/GetAgent", bearer(KEY), agent_id="nobody")
        self.refused(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", channel, "ChatService/Chat", bearer(KEY))
        six = {"message": "hello", "images": ["data:image/png;base64,AAAA"] * 6}
        self.refused(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", channel, "ChatService/StreamChat", bearer(KEY), **six)

    @on_each_port
    def test_the_administrator_makes_and_deletes_keys(self, channel):
        made = self.call(channel, "KeyService/CreateKey", metadata=bearer(ADMIN), name="grpc")
        self.assertEqual(len(self.call(channel, "AgentService/ListAgents", metadata=bearer(made.key)).agents), 3)
        self.call(channel, "KeyService/DeleteKey", metadata=bearer(ADMIN), id=made.id)
        self.refused(grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED", channel, "AgentService/ListAgents", bearer(made.key))

    @on_each_port
    def test_health_is_told_without_a_key(self, channel):
        health = health_pb2_grpc.HealthStub(channel)
        for service in ["", "synapse.v1.ChatService"]:
            answer = health.Check(health_pb2.HealthCheckRequest(service=service))
            self.assertEqual(answer.status, health_pb2.HealthCheckResponse.SERVING)
        with self.assertRaises(grpc.RpcError) as raised:
            health.Check(health_pb2.HealthCheckRequest(service="synapse.v1.NoService"))
        self.assertEqual(raised.exception.code(), grpc.StatusCode.NOT_FOUND)
