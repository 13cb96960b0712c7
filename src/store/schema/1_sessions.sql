-- Conversations: one for each agent in a session.
CREATE TABLE conversations (
    id         INTEGER PRIMARY KEY,
    session_id TEXT NOT NULL,
    agent_id   TEXT NOT NULL,
    agent_name TEXT NOT NULL,
    turns      INTEGER NOT NULL, -- also the number of the newest turn: numbers are dense, from 1
    created_at INTEGER NOT NULL, -- all times are milliseconds since 1970, UTC
    updated_at INTEGER NOT NULL,
    UNIQUE (session_id, agent_id)
) STRICT;

CREATE INDEX conversations_by_time ON conversations (updated_at, id);
CREATE INDEX conversations_of_agent_by_time ON conversations (agent_id, updated_at, id);

CREATE TABLE turns (
    conversation  INTEGER NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    number        INTEGER NOT NULL,
    created_at    INTEGER NOT NULL,
    weight        INTEGER NOT NULL, -- estimated tokens of the question, its images and the answer
    model         TEXT NOT NULL,
    input_tokens  INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    question      TEXT NOT NULL,
    answer        TEXT NOT NULL,
    images        TEXT, -- JSON: [{"media_type", "base64"}]; null for none
    UNIQUE (conversation, number)
) STRICT;

PRAGMA user_version = 1;
