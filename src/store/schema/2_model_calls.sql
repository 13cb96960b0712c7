-- Calls of models, for limits and reports.
CREATE TABLE model_calls (
    id            INTEGER PRIMARY KEY,
    created_at    INTEGER NOT NULL, -- when the call ended, in milliseconds since 1970, UTC
    agent_id      TEXT NOT NULL,
    session_id    TEXT NOT NULL,
    model         TEXT NOT NULL,
    provider      TEXT NOT NULL, -- the family, for example openai
    input_tokens  INTEGER NOT NULL, -- cached ones included
    output_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    cost          REAL, -- US dollars; null where the model has no price
    latency       INTEGER NOT NULL, -- milliseconds
    outcome       TEXT NOT NULL -- answered, failed, timed_out or cancelled
) STRICT;

CREATE INDEX model_calls_by_time ON model_calls (created_at);
CREATE INDEX model_calls_of_agent_by_time ON model_calls (agent_id, created_at);
CREATE INDEX model_calls_of_session ON model_calls (session_id);

PRAGMA user_version = 2;
