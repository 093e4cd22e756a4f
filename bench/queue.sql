-- A plain table queue, the shape of most of them: a key that grows, a time before
-- which a message is not visible, SKIP LOCKED from the head.
CREATE TABLE queue (
    id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    visible_at  timestamptz NOT NULL DEFAULT now(),
    reads       integer     NOT NULL DEFAULT 0,
    queued_at   timestamptz NOT NULL DEFAULT now(),
    message     jsonb
);
CREATE INDEX queue_visible ON queue (visible_at);
