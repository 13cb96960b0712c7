// Lets agents call tools in parallel through the protocols of all providers, against a model server that nobody here wrote, and checks
// every request that it got: each call has its result, each result its call, and nothing is lost between two requests.
//
//     node tool_calls.js PATH-OF-SYNAPSE

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { LLMock } from "@copilotkit/aimock";

// Of each provider one model that is asked for a stream and one that is not.
const MODELS = [
  { provider: "openai", streamed: "gpt-4o", whole: "gpt-4o-mini" },
  { provider: "openai, newer protocol", streamed: "gpt-5-pro", whole: "gpt-5-codex" },
  { provider: "openai compatible", streamed: "oaic.qwen3", whole: "oaic.mistral" },
  { provider: "anthropic", streamed: "claude-sonnet-4-5", whole: "claude-haiku-4-5" },
  { provider: "gemini", streamed: "gemini-2.5-flash", whole: "gemini-2.5-pro" },
  { provider: "ollama", streamed: "qwen3:8b", whole: "llama3.1:8b" },
];

const QUESTION = "How is the weather in Rome and Oslo, and when?";

// What the model says, round by round: three calls at once, two of the same tool, then one more, then the answer.
const ROUNDS = [
  {
    content: "Let me see.",
    toolCalls: [
      { name: "weather", arguments: { city: "Rome" } },
      { name: "get_datetime", arguments: {} },
      { name: "weather", arguments: { city: "Oslo" } },
    ],
  },
  { toolCalls: [{ name: "weather", arguments: { city: "Bergen" } }] },
  { content: "Sun in Rome, rain in Bergen." },
];

let model, weather, synapse, data, url, key;
let asked = [];

/** Puts what the model said in one answer into one message: OpenAI's newer protocol has one for each call. */
function merged(messages) {
  const whole = [];
  for (const message of messages) {
    const last = whole.at(-1);
    if (message.role === "assistant" && last?.role === "assistant") {
      const tool_calls = [...(last.tool_calls ?? []), ...(message.tool_calls ?? [])];
      whole[whole.length - 1] = { ...last, content: last.content ?? message.content, tool_calls };
    } else {
      whole.push(message);
    }
  }
  return whole;
}

/** Returns the round that a request asks for: how often the model has spoken since the newest question. */
function round(messages) {
  const question = messages.findLastIndex((message) => message.role === "user");
  return merged(messages.slice(question)).filter((message) => message.role === "assistant").length;
}

async function startModel() {
  model = new LLMock({ port: 0 });
  ROUNDS.forEach((response, number) => {
    const toolCalls = response.toolCalls?.map((call) => ({ ...call, arguments: JSON.stringify(call.arguments) }));
    model.on({ predicate: ({ messages }) => round(messages) === number }, toolCalls ? { ...response, toolCalls } : response);
  });
  await model.start();
}

async function startWeather() {
  weather = createServer((request, response) => {
    const city = new URL(request.url, "http://weather").searchParams.get("city");
    asked.push(city);
    response.setHeader("content-type", "text/plain").end(`weather of ${city}`);
  });
  await once(weather.listen(0, "127.0.0.1"), "listening");
}

async function startSynapse() {
  const names = MODELS.flatMap(({ streamed, whole }) => [streamed, whole]);
  const agents = names.map((name) => ({ id: name, name, type: "conversational", model: name, tools: ["weather", "get_datetime"] }));
  const tool = {
    name: "weather",
    description: "Tells the weather of a city.",
    method: "GET",
    url: `http://127.0.0.1:${weather.address().port}/`,
    inputSchema: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  };
  const settings = {
    openai_key: "k",
    anthropic_key: "k",
    gemini_key: "k",
    openai_base_url: `${model.url}/v1`,
    openai_compatible_base_url: `${model.url}/v1`,
    anthropic_base_url: `${model.url}/v1`,
    gemini_base_url: `${model.url}/v1beta`,
    ollama_base_url: model.url,
    allow_private_addresses: [`127.0.0.1:${weather.address().port}`],
    model_abilities: Object.fromEntries(MODELS.map(({ whole }) => [whole, { streaming: false }])),
  };
  data = mkdtempSync(join(tmpdir(), "synapse-"));
  const files = { "user_agents.json": agents, "custom_tools.json": [tool], "settings.json": settings };
  Object.entries(files).forEach(([name, content]) => writeFileSync(join(data, name), JSON.stringify(content)));
  const inherited = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("SYNAPSE_")));
  const env = { ...inherited, SYNAPSE_DATA_DIR: data, SYNAPSE_MODEL_DIR: data, SYNAPSE_MODEL_FETCH: "false", SYNAPSE_BACKEND_PORT: "0" };
  const [program] = process.argv.slice(2);
  key = execFileSync(program, ["keys", "create", "tools"], { env, stdio: ["ignore", "pipe", "ignore"] }).toString().trim();
  synapse = spawn(program, ["serve"], { env, stdio: ["ignore", "pipe", "inherit"] });
  for await (const line of createInterface({ input: synapse.stdout })) {
    if (line.startsWith("listening on")) {
      url = `http://${line.match(/[0-9.]+:[0-9]+/)[0]}`;
      break;
    }
  }
}

before(async () => {
  await Promise.all([startModel(), startWeather()]);
  await startSynapse();
});

after(async () => {
  synapse?.kill();
  await Promise.all([model.stop(), synapse && synapse.exitCode === null && once(synapse, "exit")]);
  weather.close();
  rmSync(data, { recursive: true, force: true });
});

async function chat(agent_id) {
  const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
  const body = JSON.stringify({ agent: agent_id, message: QUESTION, session_id: agent_id.replace(/\W/g, "_") });
  const response = await fetch(`${url}/api/v1/chat`, { method: "POST", headers, body });
  const answer = await response.json();
  assert.equal(response.status, 200, JSON.stringify(answer));
  return answer;
}

/** Checks that each call of a conversation has its result right behind it, in order, and each result its call. */
function assertPaired(messages, provider) {
  let open = [];
  for (const message of messages) {
    if (message.role !== "tool") {
      assert.deepEqual(open, [], "calls without results");
    }
    if (message.role === "assistant") {
      open = [...(message.tool_calls ?? [])];
      assert.equal(new Set(open.map((call) => call.id)).size, open.length, "ids that repeat");
    } else if (message.role === "tool") {
      const call = open.shift();
      assert.ok(call, "a result without a call");
      // Ollama's protocol has no ids: there the order counts.
      assert.equal(provider === "ollama" ? undefined : message.tool_call_id, provider === "ollama" ? undefined : call.id);
      const { city } = JSON.parse(call.function.arguments);
      assert.match(message.content, city ? new RegExp(`weather of ${city}`) : /20[0-9]{2}-/);
    }
  }
  assert.deepEqual(open, [], "calls without results");
}

/** Returns what a request says of calls, without the ids. */
function calls(messages) {
  return messages.flatMap((message) => message.tool_calls ?? []).map((call) => [call.function.name, JSON.parse(call.function.arguments)]);
}

function assertAllThere(requests, provider, isStream) {
  assert.equal(requests.length, ROUNDS.length);
  let earlier = [];
  requests.forEach(({ body }, number) => {
    const messages = merged(body.messages.filter((message) => message.role !== "system"));
    assert.equal(body.stream ?? false, isStream, "the way in which it was asked");
    assert.deepEqual(body.tools.map((tool) => tool.function.name).sort(), ["get_datetime", "weather"]);
    assertPaired(messages, provider);
    assert.deepEqual(messages.slice(0, earlier.length), earlier, "what was said before");
    const made = ROUNDS.slice(0, number).flatMap((round) => round.toolCalls.map((call) => [call.name, call.arguments]));
    assert.deepEqual(calls(messages.slice(messages.findLastIndex((message) => message.role === "user"))), made);
    if (number > 0) {
      const spoken = messages.find((message) => message.role === "assistant" && message.tool_calls);
      assert.equal(spoken.content, "Let me see.");
    }
    earlier = messages;
  });
}

for (const { provider, ...names } of MODELS) {
  for (const [kind, name] of Object.entries(names)) {
    test(`${provider}, ${kind}: all calls and results arrive`, async () => {
      for (const time of ["first", "second"]) {
        model.clearRequests();
        asked = [];
        const answer = await chat(name);
        assert.equal(answer.response, ROUNDS.at(-1).content, `the ${time} answer`);
        assert.deepEqual([...asked].sort(), ["Bergen", "Oslo", "Rome"]);
        assertAllThere(model.getRequests(), provider, kind === "streamed");
      }
    });
  }
}
