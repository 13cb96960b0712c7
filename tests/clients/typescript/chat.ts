// Talks with a live server through the types that openapi-typescript generates from the document, and openapi-fetch.

import assert from "node:assert/strict";
import { test } from "node:test";
import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

type ChatEvent = components["schemas"]["ChatEvent"];

const { SYNAPSE_URL: baseUrl = "", SYNAPSE_KEY: key = "" } = process.env;
const client = createClient<paths>({ baseUrl, headers: { authorization: `Bearer ${key}` } });

/** Reads a stream of server-sent events. */
async function* events(body: ReadableStream<Uint8Array>): AsyncGenerator<ChatEvent> {
  let text = "";
  const decoder = new TextDecoder();
  for await (const bytes of body) {
    text += decoder.decode(bytes, { stream: true });
    const frames = text.split("\n\n");
    text = frames.pop() ?? "";
    for (const frame of frames) {
      const data = frame.split("\n").find((line) => line.startsWith("data: "));
      if (data) {
        yield JSON.parse(data.slice("data: ".length)) as ChatEvent;
      }
    }
  }
  assert.equal(text, "");
}

/** Returns the text that an event adds to the answer; the compiler refuses this function when a kind of event is left out. */
function added(event: ChatEvent): string {
  switch (event.type) {
    case "text_delta":
      return event.text;
    case "session":
      assert.ok(event.session_id);
      return "";
    case "response":
      assert.equal(event.intent, "chat");
      return "";
    case "llm_thought":
      assert.equal(event.turn, 1);
      return "";
    case "status":
    case "thinking":
      assert.ok(event.message);
      return "";
    case "tool_execution":
    case "tool_result":
      assert.ok(event.tool_name);
      return "";
    case "context_compact":
      assert.ok(event.chars_after < event.chars_before);
      return "";
    case "human_input_required":
      assert.ok(event.run_id);
      return "";
    case "reasoning_delta":
    case "done":
      return "";
    case "error":
      throw new Error(event.message);
    default:
      return event satisfies never;
  }
}

test("agents are listed and described", async () => {
  const { data: agents } = await client.GET("/api/v1/agents");
  assert.deepEqual(agents?.map((agent) => agent.id), ["echo", "talker", "broken"]);
  const { data: agent } = await client.GET("/api/v1/agents/{agent_id}", { params: { path: { agent_id: "echo" } } });
  assert.equal(agent?.description, "Says what you say.");
});

test("a chat is answered", async () => {
  const { data } = await client.POST("/api/v1/chat", { body: { message: "hello", agent: "talker" } });
  assert.equal(data?.response, "You said: hello");
  assert.equal(data?.usage?.output_tokens, 5);
});

test("a chat is streamed", async () => {
  const { data, response } = await client.POST("/api/v1/chat/stream", { body: { message: "hello", agent: "talker" }, parseAs: "stream" });
  assert.equal(response.status, 200);
  assert.ok(data);
  const kinds: string[] = [];
  let answer = "";
  for await (const event of events(data as ReadableStream<Uint8Array>)) {
    kinds.push(event.type);
    answer += added(event);
  }
  assert.equal(answer, "You said: hello");
  assert.equal(kinds[0], "session");
  assert.deepEqual(kinds.slice(-2), ["response", "done"]);
});

test("a refusal has a detail", async () => {
  const { error, response } = await client.GET("/api/v1/agents/{agent_id}", { params: { path: { agent_id: "nobody" } } });
  assert.equal(response.status, 404);
  assert.ok(error?.detail);
});
