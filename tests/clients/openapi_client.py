"""Talks with a live server through the client that openapi-python-client generates from the document."""

import functools
import json
import os
import unittest

from synapse_client import AuthenticatedClient, models
from synapse_client.api.agent import get_agent, list_agents
from synapse_client.api.chat import chat
from synapse_client.api.key import create_key, delete_key, list_keys
from synapse_client.api.orchestration import get_orchestration, list_orchestrations
from synapse_client.api.session import delete_session, get_session, list_sessions
from synapse_client.models import ChatRequest, CreateKeyRequest, Error

URL = os.environ["SYNAPSE_URL"]


@functools.cache
def client(token=os.environ["SYNAPSE_KEY"]):
    return AuthenticatedClient(base_url=URL, token=token)


def parsed(frame):
    """Parses a frame as the generated class that its type names."""
    return getattr(models, "ChatEvent" + frame["type"].title().replace("_", "")).from_dict(frame)


def stream(body):
    """Streams over the generated client's own connection: the generator takes a stream of events for plain text."""
    with client().get_httpx_client().stream("POST", "/api/v1/chat/stream", json=body.to_dict()) as response:
        assert response.status_code == 200, response.read()
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = list(response.iter_lines())
    assert all(line == "" or line.startswith(("id: ", "data: ", ":")) for line in lines), lines
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]


class GeneratedClient(unittest.TestCase):
    def test_agents_are_listed_and_described(self):
        agents = list_agents.sync(client=client())
        self.assertEqual([agent.id for agent in agents], ["echo", "talker", "broken"])
        agent = get_agent.sync("talker", client=client())
        self.assertEqual((agent.name, agent.type_, agent.model), ("Talker", "conversational", "scripted.talker"))

    def test_orchestrations_are_listed_and_described(self):
        orchestrations = list_orchestrations.sync(client=client())
        self.assertEqual([(one.id, one.steps) for one in orchestrations], [("two-steps", 2)])
        orchestration = get_orchestration.sync("two-steps", client=client())
        self.assertEqual([(step.id, step.type_, step.depends_on) for step in orchestration.steps], [("ask", "agent", []), ("end", "end", ["ask"])])
        self.assertEqual([edge.to_dict() for edge in orchestration.edges], [{"source": "ask", "target": "end"}])

    def test_a_chat_is_answered_and_kept(self):
        answer = chat.sync(client=client(), body=ChatRequest(message="grüß dich", agent="talker"))
        self.assertEqual(answer.response, "You said: grüß dich")
        self.assertEqual((answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.cached_tokens), (7, 5, 3))
        kept = get_session.sync(answer.session_id, client=client())
        self.assertEqual([(turn.user, turn.assistant) for turn in kept.turns], [("grüß dich", "You said: grüß dich")])
        listed = list_sessions.sync(client=client(), agent_id="talker", page_size=200)
        self.assertIn(answer.session_id, [session.session_id for session in listed.sessions])
        self.assertEqual(delete_session.sync(answer.session_id, client=client()).status, "deleted")
        self.assertIsInstance(get_session.sync(answer.session_id, client=client()), Error)

    def test_every_event_of_a_stream_is_one_of_the_generated_classes(self):
        frames = stream(ChatRequest(message="hello", agent="talker"))
        events = [parsed(frame) for frame in frames]
        self.assertEqual([event.to_dict() for event in events], frames)
        self.assertEqual([event.additional_properties for event in events], [{}] * len(events))
        kinds = [event.type_.value for event in events]
        self.assertEqual((kinds[0], kinds[-2:]), ("session", ["response", "done"]))
        text = "".join(event.text for event in events if isinstance(event, models.ChatEventTextDelta))
        self.assertEqual(text, "You said: hello")
        self.assertGreater(kinds.count("text_delta"), 1)
        self.assertGreater(kinds.count("reasoning_delta"), 1)

    def test_a_failure_is_told_and_the_stream_ends(self):
        *_, error, done = [parsed(frame) for frame in stream(ChatRequest(message="hello", agent="broken"))]
        self.assertEqual((type(error), type(done)), (models.ChatEventError, models.ChatEventDone))
        answer = chat.sync_detailed(client=client(), body=ChatRequest(message="hello", agent="broken"))
        self.assertEqual(answer.status_code, 500)
        self.assertIsInstance(answer.parsed, Error)

    def test_refusals_are_parsed(self):
        missing = get_agent.sync_detailed("nobody", client=client())
        self.assertEqual((missing.status_code, type(missing.parsed)), (404, Error))
        stranger = list_agents.sync_detailed(client=client("sk-syn-" + "0" * 64))
        self.assertEqual((stranger.status_code, type(stranger.parsed)), (401, Error))
        keys = list_keys.sync_detailed(client=client())
        self.assertEqual((keys.status_code, type(keys.parsed)), (403, Error))

    def test_the_administrator_makes_and_deletes_keys(self):
        admin = client(os.environ["SYNAPSE_ADMIN"])
        made = create_key.sync(client=admin, body=CreateKeyRequest(name="generated"))
        self.assertEqual(len(list_agents.sync(client=client(made.key))), 3)
        self.assertIn(made.id, [key.id for key in list_keys.sync(client=admin)])
        self.assertEqual(delete_key.sync(made.id, client=admin).status, "deleted")
        self.assertEqual(list_agents.sync_detailed(client=client(made.key)).status_code, 401)


if __name__ == "__main__":
    unittest.main()
